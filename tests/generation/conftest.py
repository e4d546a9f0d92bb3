"""Generations to begin with, an S3 server, and a Redis that is away."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from django.utils import timezone
from moto.server import ThreadedMotoServer

from config.storage import storages
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


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_endpoint: str, settings: Any) -> Any:
    """An empty bucket, and the site set up to use it by STORAGE_URL."""
    settings.STORAGES = storages(f"s3://key:secret@{s3_endpoint}/pictures?tls=no", Path("unused"))
    client = boto3.resource(
        "s3",
        endpoint_url=f"http://{s3_endpoint}",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        region_name="us-east-1",
    )
    bucket = client.Bucket("pictures")
    bucket.create()
    yield bucket
    bucket.objects.delete()
    bucket.delete()


@pytest.fixture(params=["folder", "s3"])
def anywhere(request: pytest.FixtureRequest) -> None:
    if request.param == "s3":
        request.getfixturevalue("bucket")


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
