"""Generations to begin with, and a Redis that is away."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psutil
import pytest
from django.utils import timezone

from generation import queue, services
from generation.models import Generation
from generation.params import Inputs, Params
from tests.conftest import Person
from tests.services import free_port

SMALL = {"width": 64, "height": 64, "num_inference_steps": 2, "enhance_prompt": False, "safety_checker": False}
MOST_GROWTH_MB = 200  # an io worker at rest has less than 100 MB, and may have 300
Submit = Callable[..., Generation]
NO_INPUTS = Inputs()


def small(**fields: Any) -> Params:
    """Return parameters that the tiny model does in no time."""
    return Params(**({"mode": "text2img", "prompt": "a cat", "seed": 7} | SMALL | fields))


@pytest.fixture
def submit(alice: Person) -> Submit:
    """Return a function that submits for alice: its arguments are parameters, and the rest of the request."""

    def make(
        inputs: Inputs = NO_INPUTS, track_id: Any = None, webhook_url: str = "", by: Person = alice, **fields: Any
    ) -> Generation:
        return services.submit(by.user, small(**fields), inputs, track_id, webhook_url, by.api_key)

    return make


@pytest.fixture
def no_redis(settings: Any) -> Iterator[None]:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    queue.redis.cache_clear()
    yield
    settings.__delattr__("REDIS_URL")
    queue.redis.cache_clear()


def lapse(generation: Generation) -> None:
    """Let the lease run out."""
    Generation.objects.filter(pk=generation.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


def row(generation: Generation) -> Generation:
    return Generation.objects.get(pk=generation.pk)


def everything(generation: Generation) -> dict[str, Any]:
    """Return all columns of the row."""
    return Generation.objects.values().get(pk=generation.pk)


@contextmanager
def watched_memory() -> Iterator[Callable[[], float]]:
    """Watch this process while the block runs; gives a function that says how many MB more than before it ever had."""
    process, over = psutil.Process(), threading.Event()
    before = peak = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.002):
            peak = max(peak, process.memory_info().rss)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: (peak - before) / 1e6
    finally:
        over.set()
        thread.join()


@pytest.fixture(scope="module")
def bounded_memory() -> Iterator[None]:
    """Fail where a module's tests, hosts that they talk to included, ever take more memory than an io worker may."""
    with watched_memory() as growth_mb:
        yield
    assert growth_mb() < MOST_GROWTH_MB
