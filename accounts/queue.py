"""Asks io workers for the functions of accounts/jobs.py; an account may hold very much, so they may take long."""

from collections.abc import Iterable
from typing import Any

from config import nudges

JOB_SECONDS = 12 * 3600


def ring(job: str, pk: int, **options: Any) -> None:
    """Let an io worker call the job, once what it is about is committed."""
    nudges.ring(f"accounts.jobs.{job}", pk, job_timeout=JOB_SECONDS, **options)


def enqueue(job: str, pk: int, **options: Any) -> None:
    """Let an io worker call the job for what is there already."""
    nudges.enqueue(f"accounts.jobs.{job}", pk, job_timeout=JOB_SECONDS, **options)


def ring_erasure(pk: int) -> None:
    """Let an io worker erase an account, once its closing is committed."""
    ring("erase", pk, **once(pk))


def enqueue_erasures(pks: Iterable[int]) -> None:
    """Let io workers erase those of the accounts for which no job waits and which no worker is at."""
    known = nudges.known_job_ids("io")
    for pk in pks:
        if once(pk)["job_id"] not in known:
            enqueue("erase", pk, **once(pk))


def once(pk: int) -> dict[str, Any]:
    """Return RQ's options for a job by whose name it is known, and which leaves nothing that expires under the next."""
    return {"job_id": f"erase-{pk}", "result_ttl": 0}
