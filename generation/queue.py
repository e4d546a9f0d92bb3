"""Tells Redis that there are generations to make, or that one is done, and keeps there how the gpu workers fare.

A message is only a nudge (config/nudges.py), sent after the commit: the database row is the truth.
"""

import json
from functools import partial
from typing import Any

from django.db import transaction
from redis import RedisError
from rq.utils import as_text

from config import nudges
from config.nudges import attempt, named
from config.nudges import known_job_ids as known_job_ids
from config.nudges import redis as redis
from generation.models import Generation

ENDED = "atelier:ended"  # channel: the id of each generation that reached a final state
WEBHOOKS = "atelier:webhooks"  # list: notes that wake the senders
MOST_NOTES = 64
GPU_WORKERS = "atelier:gpu_workers"  # hash: worker → facts
BEAT_SECONDS, SILENCE_SECONDS = 10, 35
LOADING = "atelier:loading_seconds"
UNKNOWN_LOADING_SECONDS = 15.0  # before any worker has loaded a model


def ring(generation: Generation, at_front: bool = False) -> None:
    """Let one more be taken: by a gpu worker, or first by a fetch worker when links are to be fetched.

    Which one is taken is for fairness.py to say then; there is a job for each generation so that there are enough.
    """
    name, job = ("gpu", "generate") if generation.inputs_ready else ("fetch", "fetch_inputs")
    push = partial(nudges.push, name, f"generation.jobs.{job}", job_id=job_id(generation), at_front=at_front)
    transaction.on_commit(partial(attempt, push))


def ring_webhooks() -> None:
    """Wake a sender of webhooks."""
    transaction.on_commit(partial(attempt, wake_sender))


def wake_sender() -> None:
    """Leave a note; a few are enough to wake every sender, and each looks for all there is to send."""
    with redis().pipeline() as pipeline:
        pipeline.lpush(WEBHOOKS, 1)
        pipeline.ltrim(WEBHOOKS, 0, MOST_NOTES - 1)
        pipeline.execute()


def await_webhooks(seconds: int) -> None:
    """Return when a note is there, or after so many seconds.

    Raises:
        RedisError: Redis is away.
    """
    redis().blpop([WEBHOOKS], timeout=seconds)


def ring_removal(generation_pk: int) -> None:
    """Let an io worker remove the files of a deleted generation."""
    job_id = removal_job_id(generation_pk)
    nudges.ring("generation.jobs.remove_files", generation_pk, job_id=job_id, result_ttl=0)


def announce_end(generation: Generation) -> None:
    """Wake the callers that wait for the generation."""
    transaction.on_commit(partial(attempt, partial(redis().publish, ENDED, generation.pk)))


def waiting_job_ids() -> set[str]:
    """Return the ids of the jobs that wait in Redis for a gpu or fetch worker."""
    return {job_id for name in ("gpu", "fetch") for job_id in named(name).get_job_ids()}


def beat(worker: str, facts: dict[str, Any]) -> None:
    """Note that a gpu worker has loaded the model and lives, and facts about it."""
    attempt(lambda: redis().hset(GPU_WORKERS, worker, json.dumps(facts | {"at": redis_time()})))


def end_beating(worker: str) -> None:
    """Note that a gpu worker is gone."""
    attempt(lambda: redis().hdel(GPU_WORKERS, worker))


def gpu_workers() -> dict[str, dict[str, Any]]:
    """Return the gpu workers that live, by name, with their facts; none when Redis can't be asked."""
    try:
        workers = {as_text(name): json.loads(facts) for name, facts in redis().hgetall(GPU_WORKERS).items()}
        now = redis_time() if workers else 0.0
        silent = [name for name, facts in workers.items() if facts["at"] < now - SILENCE_SECONDS]
        if silent:
            redis().hdel(GPU_WORKERS, *silent)
    except RedisError:
        return {}
    return {name: facts for name, facts in workers.items() if name not in silent}


def gpu_workers_alive() -> int:
    return len(gpu_workers())


def redis_time() -> float:
    """Return the time by Redis' clock, the same for all hosts."""
    seconds, microseconds = redis().time()
    return float(seconds) + microseconds / 1e6


def note_loading(seconds: float) -> None:
    """Remember how long a gpu worker took to load the model."""
    attempt(partial(redis().set, LOADING, f"{seconds:.1f}"))


def loading_seconds() -> float:
    """Return how long the last gpu worker took to load the model."""
    try:
        return float(redis().get(LOADING) or UNKNOWN_LOADING_SECONDS)
    except RedisError:
        return UNKNOWN_LOADING_SECONDS


def job_id(generation: Generation) -> str:
    """Return the name of the RQ job that nudges a worker about this generation, another one after each attempt."""
    step = "generate" if generation.inputs_ready else "fetch"
    return f"{step}-{generation.pk}-{generation.attempt}"


def removal_job_id(generation_pk: int) -> str:
    """Return the name of the RQ job that removes the files of a deleted generation."""
    return f"remove-{generation_pk}"
