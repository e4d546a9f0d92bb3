"""Asks io workers for the functions of billing/jobs.py."""

from config import nudges


def ring(job: str, pk: int) -> None:
    """Let an io worker call the job, once what it is about is committed."""
    nudges.ring(f"billing.jobs.{job}", pk)


def enqueue(job: str, pk: int) -> None:
    """Let an io worker call the job for what is there already."""
    nudges.enqueue(f"billing.jobs.{job}", pk)
