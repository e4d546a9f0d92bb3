"""Tells Redis that there is work; apps say what for.

A message is only a nudge: what it is about is in the database, so one that is lost or doubled does no harm. While Redis
is away that is logged: the clock's sweeps find the work, those who wait for an end ask the database, and what is known
of workers is told at their next beat or grows old.
"""

import logging
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import django_rq
from django.conf import settings
from django.db import transaction
from redis import Redis, RedisError
from rq import Queue

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 5
FAILURE_SECONDS = 24 * 3600  # how long a job that broke can be looked at


@cache
def redis() -> Redis:
    """Return this process's connection pool."""
    return Redis.from_url(settings.REDIS_URL, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS)


def named(name: str) -> Queue:
    """Return an RQ queue that is told at once: whoever asks waits for the commit itself."""
    return django_rq.get_queue(name, connection=redis(), commit_mode="auto")


def known_job_ids(name: str) -> set[str]:
    """Return the ids of the jobs of a queue that wait, or that a worker does which lives."""
    queue = named(name)
    return {*queue.get_job_ids(), *queue.started_job_registry.get_job_ids()}


def ring(job: str, pk: int, **options: Any) -> None:
    """Let an io worker call the function `job` for a row, once the row is committed; `options` are those of RQ."""
    transaction.on_commit(partial(enqueue, job, pk, **options))


def enqueue(job: str, pk: int, **options: Any) -> None:
    """Let an io worker call the function `job` for a row that is there already."""
    attempt(partial(push, "io", job, pk, **options))


def push(name: str, job: str, *arguments: Any, **options: Any) -> None:
    """Put a job into a queue by one message; raises RedisError."""
    with redis().pipeline() as together:
        named(name).enqueue(job, *arguments, failure_ttl=FAILURE_SECONDS, pipeline=together, **options)
        together.execute()


def attempt(call: Callable[[], object]) -> None:
    """Tell Redis something that may be lost."""
    try:
        call()
    except RedisError as error:
        logger.warning("Redis was not told (%s).", error)
