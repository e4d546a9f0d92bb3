"""Asks io workers for the functions of accounts/jobs.py; an account may hold very much, so they may take long."""

from config import nudges

JOB_SECONDS = 12 * 3600


def ring(job: str, pk: int) -> None:
    """Let an io worker call the job, once what it is about is committed."""
    nudges.ring(f"accounts.jobs.{job}", pk, job_timeout=JOB_SECONDS)


def enqueue(job: str, pk: int) -> None:
    """Let an io worker call the job for what is there already."""
    nudges.enqueue(f"accounts.jobs.{job}", pk, job_timeout=JOB_SECONDS)
