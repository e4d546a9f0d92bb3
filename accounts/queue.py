"""Tells an io worker that there is something to do; the only module of accounts that talks to Redis.

A message is only a nudge, sent after the commit: what it is about is in the database, and the clock's sweep finds it
there when the message is lost.
"""

import logging
from functools import cache, partial

import django_rq
from django.conf import settings
from django.db import transaction
from redis import Redis, RedisError

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 5
JOB_SECONDS = 12 * 3600  # an account may hold very much


@cache
def redis() -> Redis:
    """Return this process's connection pool."""
    return Redis.from_url(settings.REDIS_URL, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS)


def ring(job: str, pk: int) -> None:
    """Let an io worker call the function of accounts/jobs.py."""
    transaction.on_commit(partial(enqueue, job, pk))


def enqueue(job: str, pk: int) -> None:
    try:
        queue = django_rq.get_queue("io", connection=redis(), commit_mode="auto")
        queue.enqueue(f"accounts.jobs.{job}", pk, job_timeout=JOB_SECONDS, failure_ttl=24 * 3600)
    except RedisError as error:
        logger.warning("Redis was not told (%s); the sweep will.", error)
