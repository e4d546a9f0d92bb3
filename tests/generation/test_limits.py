"""Limits hold to the last one when processes race: 200 submissions from 4 processes."""

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from typing import Any

import pytest
from django.db import connection, connections
from django.utils import timezone

from accounts.models import ApiKey, Plan, Usage
from billing import ledger
from generation import queue, services
from generation.models import Generation
from generation.params import Inputs
from tests.conftest import Person
from tests.generation.conftest import small

PROCESSES, THREADS, REQUESTS = 4, 8, 200
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def submit_many(key_pk: int, start: Barrier, answers: Any) -> None:
    """Be one process: submit a quarter of the requests from several threads, and say how each one ended."""
    queue.redis.cache_clear()
    key = ApiKey.objects.select_related("user__plan").get(pk=key_pk)
    connections.close_all()

    def run(k: int) -> str:
        try:
            services.submit(key.user, small(), Inputs(), api_key=key)
            return "accepted"
        except Exception as refusal:
            return type(refusal).__name__

    def connect(*_: object) -> None:
        connection.ensure_connection()
        start.wait()

    with ThreadPoolExecutor(THREADS, initializer=connect) as pool:
        answers.put(list(pool.map(run, range(REQUESTS // PROCESSES))))
    answers.close()
    answers.join_thread()
    os._exit(0)  # not through the test run's own clean-up


@pytest.fixture
def stampede() -> Callable[[ApiKey], Counter[str]]:
    """Return a function that lets the processes race, and counts how the submissions ended."""

    def run(key: ApiKey) -> Counter[str]:
        connections.close_all()
        processes = get_context("fork")
        start, answers = processes.Barrier(PROCESSES * THREADS), processes.Queue()
        children = [processes.Process(target=submit_many, args=(key.pk, start, answers)) for _ in range(PROCESSES)]
        for child in children:
            child.start()
        outcomes = Counter(outcome for _ in children for outcome in answers.get(timeout=60))
        for child in children:
            child.join()
        return outcomes

    return run


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("limits", "accepted", "refusal"),
    [
        ({"requests_per_minute": 50}, 50, "RateLimited"),
        ({"images_per_day": 30}, 30, "QuotaExceeded"),
        ({"generations_at_once": 3}, 3, "RateLimited"),
        ({"requests_per_minute": 50, "images_per_day": 30, "generations_at_once": 3}, 3, "RateLimited"),
    ],
)
def test_exactly_the_limit_passes(
    alice: Person,
    stampede: Callable[[ApiKey], Counter[str]],
    monkeypatch: pytest.MonkeyPatch,
    limits: dict[str, int],
    accepted: int,
    refusal: str,
) -> None:
    monkeypatch.setattr(timezone, "now", lambda: NOON)  # nothing crosses a minute
    alice.user.plan = Plan.objects.create(name="small", **limits)
    alice.user.save()

    outcomes = stampede(alice.api_key)

    assert outcomes == {"accepted": accepted, refusal: REQUESTS - accepted}
    assert Generation.objects.count() == accepted
    assert set(Usage.objects.values_list("count", flat=True)) == {accepted}
    assert alice.balance == 1000 - accepted
    assert list(ledger.differences()) == []
