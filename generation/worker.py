"""The gpu worker: one RQ worker that keeps the weights and makes one generation after another in its own process.

RQ's default worker forks for every job, which would load the weights each time and does not survive CUDA.
"""

import threading
import time
from typing import Any

import psutil
from django.conf import settings
from django.db import close_old_connections
from redis import RedisError
from rq.executions import Execution
from rq.job import Job
from rq.queue import Queue
from rq.worker import SimpleWorker

from generation import making, queue, services
from generation.engine import Engine, EngineSettings
from generation.heart import Heart

RQ_HEARTBEAT_SECONDS = 15

stopping = threading.Event()
engine: Engine | None = None


def make_next() -> None:
    """Make the generation whose turn it is with this process's engine."""
    if engine is None:
        raise RuntimeError("The gpu queue needs a worker with --worker-class generation.worker.GpuWorker.")
    close_old_connections()  # one that broke while the worker was idle
    if generation := services.claim_next():
        making.make(generation, engine, stopping)


def load_engine() -> Engine:
    return Engine.load(
        EngineSettings(
            model=settings.MODEL,
            revision=settings.MODEL_REVISION,
            variant=settings.MODEL_VARIANT,
            config=settings.MODEL_CONFIG,
            device=settings.DEVICE,
            dtype=settings.DTYPE,
            scheduler=settings.SCHEDULER,
            safety=settings.SAFETY_CHECKER,  # type: ignore[arg-type] # the engine refuses what it doesn't know
        )
    )


def engine_memory() -> dict[str, float]:
    """Return how much of the accelerator's memory is in use, where there is one."""
    used = engine.accelerator_bytes() if engine else None
    return {} if used is None else {"gpu_bytes": used}


class GpuWorker(SimpleWorker):
    """Loads the weights before its first job, and beats RQ's heart while a job runs, which SimpleWorker does not."""

    max_connection_wait_time = 5.0  # seconds between tries while Redis is away; RQ would wait up to a minute

    def work(self, *args: Any, **kwargs: Any) -> bool:
        global engine
        begun = time.monotonic()
        engine = load_engine()
        queue.note_loading(time.monotonic() - begun)
        self.log.info("Worker %s: %s", self.name, engine.description())
        self.beat()
        try:
            with Heart(self.beat, queue.BEAT_SECONDS):
                return super().work(*args, **kwargs)
        finally:
            queue.end_beating(self.name)

    def beat(self) -> None:
        queue.beat(self.name, {"rss_bytes": psutil.Process().memory_info().rss} | engine_memory())

    def perform_job(self, job: Job, queue: Queue, execution: Execution) -> bool:
        with Heart(lambda: self.maintain_heartbeats(job, execution), RQ_HEARTBEAT_SECONDS):
            return super().perform_job(job, queue, execution)

    def _shutdown(self) -> None:
        try:
            super()._shutdown()
        except RedisError:  # this is a signal handler: it would surface in the middle of a generation and fail it
            self._stop_requested = True

    def handle_warm_shutdown_request(self) -> None:
        stopping.set()
        super().handle_warm_shutdown_request()
