"""The gpu worker: one RQ worker that keeps the weights and makes many generations at once in its own process.

RQ's default worker forks for every job, which would load the weights each time and does not survive CUDA. This one has
a thread for each job, and they meet in the denoising loop of the engine.
"""

import gc
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import psutil
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from prometheus_client import Histogram
from redis.client import Pipeline
from rq import get_current_job
from rq.command import parse_payload
from rq.exceptions import StopRequested
from rq.executions import Execution
from rq.job import Job
from rq.queue import Queue
from rq.timeouts import TimerDeathPenalty
from rq.utils import now
from rq.worker import SimpleWorker, WorkerStatus

from config.nudges import attempt
from generation import making, queue, services
from generation.engine import BatchingEngine, Engine, EngineSettings, PipelineEngine, load_model
from generation.engine.memory import share_heaps, trim
from generation.engine.tuning import choose
from generation.leases import Hearts, hearts
from generation.models import Generation
from generation.serving import served_model

RQ_HEARTBEAT_SECONDS = 15
FRESH = timedelta(seconds=1)  # a heartbeat of the worker itself that is younger need not be repeated
SIGNAL_SECONDS = 2  # a signal that comes just before the main thread blocks, or to another thread, waits so long

STEP_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)  # seconds

stopping = threading.Event()
broken = threading.Event()  # the device takes no more work from this process
step_seconds = Histogram("step_seconds", "Of each step of the loop.", buckets=STEP_BUCKETS, registry=None)
engine: BatchingEngine | PipelineEngine | None = None
beating: Hearts | None = None
making_now: dict[str, int] = {}  # job id → generation
stopped_jobs: set[str] = set()  # of those, the ones that somebody stopped by RQ's own command


class Stopped(Exception):
    """Somebody stopped the job; its generation is canceled."""


def make_next() -> None:
    """Make the generation whose turn it is with this process's engine.

    Raises:
        Stopped: RQ shall know.
    """
    if engine is None or beating is None:
        raise RuntimeError("The gpu queue needs a worker with --worker-class generation.worker.GpuWorker.")
    if broken.is_set():
        return
    job = get_current_job()
    job_id = job.id if job else ""
    if generation := claim_next():
        making_now[job_id] = generation.pk
        try:
            making.make(generation, engine, stopping, beating, on_broken=end)
        finally:
            del making_now[job_id]
    if job_id in stopped_jobs:
        raise Stopped


def claim_next() -> Generation | None:
    """Take the generation whose turn it is, by a new connection where this thread's broke while it was idle."""
    try:
        return services.claim_next()
    except (InterfaceError, OperationalError):
        connection.close()
        return services.claim_next()


def end() -> None:
    """Let this worker claim nothing more and exit; whoever keeps it running starts a new one."""
    broken.set()
    if not stopping.is_set():
        os.kill(os.getpid(), signal.SIGTERM)


def load_engine() -> Engine | PipelineEngine:
    """Return the engine of a worker, in which nothing was made so far."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(settings.VAR_DIR / "compiled"))  # for the next start
    named = [name for name in settings.TUNING if name not in ("auto", "none")]
    loaded = load_model(
        EngineSettings(
            model=settings.MODEL,
            name=served_model(),
            revision=settings.MODEL_REVISION,
            variant=settings.MODEL_VARIANT,
            config=settings.MODEL_CONFIG,
            device=settings.DEVICE,
            dtype=settings.DTYPE,
            scheduler=settings.SCHEDULER,
            tuning=tuple(named),
            quantize=settings.QUANTIZE or None,
            safety=settings.SAFETY_CHECKER,  # type: ignore[arg-type] # the engine refuses what it doesn't know
        )
    )
    if "auto" in settings.TUNING and not settings.QUANTIZE:  # weights in fewer bits can't be fused any more
        choose(loaded, settings.VAR_DIR / "tuning.json", settings.BATCH_IMAGES)
    return loaded


def shared(loaded: Engine | PipelineEngine) -> tuple[BatchingEngine | PipelineEngine, int]:
    """Return what the hands of a worker share, and how many hands there may be."""
    if isinstance(loaded, PipelineEngine):
        return loaded, 1
    return BatchingEngine(loaded, settings.BATCH_IMAGES, on_call=step_seconds.observe), settings.BATCH_IMAGES


def facts(loaded: Engine | PipelineEngine) -> dict[str, Any]:
    """Return what is loaded and where, how much of the accelerator's memory is in use, and how long steps took."""
    used = loaded.accelerator_bytes()
    told = {"model": loaded.model_name, "device": str(loaded.device)} | ({} if used is None else {"gpu_bytes": used})
    samples = [sample for family in step_seconds.collect() for sample in family.samples]
    return told | {
        "step_buckets": [(sample.labels["le"], sample.value) for sample in samples if "le" in sample.labels],
        "step_seconds": next(sample.value for sample in samples if sample.name.endswith("_sum")),
    }


class GpuWorker(SimpleWorker):
    """Loads the weights and warms up before its first job, and works on BATCH_IMAGES jobs at once, or on one.

    Each job is an execution of its own to RQ, with its state, heartbeat and failure. A job is only taken from the queue
    when there is a hand free for it, so that what waits can go to another worker, or to the account whose turn it is.
    """

    max_connection_wait_time = 5.0  # seconds between tries while Redis is away; RQ would wait up to a minute
    death_penalty_class = TimerDeathPenalty  # signals reach the main thread only
    dequeue_timeout = SIGNAL_SECONDS

    def work(self, *args: Any, **kwargs: Any) -> bool:
        global engine, beating
        share_heaps()
        begun = time.monotonic()
        with ThreadPoolExecutor(1) as loading:  # a thread that ends, for one that stays slows down the denoising loop's
            self.loaded = loading.submit(load_engine).result()
            loading.submit(self.loaded.warm_up).result()
        engine, hands = shared(self.loaded)
        queue.note_loading(time.monotonic() - begun)
        self.log.info("Worker %s: %s", self.name, self.loaded.description())
        self.free_hands = threading.Semaphore(hands)
        self.hands = ThreadPoolExecutor(hands, thread_name_prefix="hand")
        self.is_waiting = False
        self.stopping_one = threading.Lock()
        gc.collect()
        gc.freeze()  # what is loaded stays: looking through all of it for garbage would stop every thread for a while
        self.beat()
        with hearts() as beating:
            self.hearts = beating
            try:
                with beating.redis.beating(self.beat, queue.BEAT_SECONDS):
                    return super().work(*args, **kwargs)
            finally:
                queue.end_beating(self.name)

    def beat(self) -> None:
        trim()
        queue.beat(self.name, {"rss_bytes": psutil.Process().memory_info().rss} | facts(self.loaded))

    def dequeue_job_and_maintain_ttl(self, *args: Any, **kwargs: Any) -> tuple[Job, Queue] | None:
        """Wait for a free hand, and then for a job; the hand is taken if there is one."""
        self.is_waiting = True
        while not self.free_hands.acquire(timeout=SIGNAL_SECONDS):
            pass
        taken = None
        try:
            if not self._stop_requested:
                taken = super().dequeue_job_and_maintain_ttl(*args, **kwargs)
        finally:
            self.is_waiting = False
            if taken is None:
                self.free_hands.release()
        return taken

    def execute_job(self, job: Job, queue: Queue) -> None:
        self.hands.submit(self.execute, job, queue, self.prepare_execution(job))

    def execute(self, job: Job, queue: Queue, execution: Execution) -> None:
        """Do a job, in a thread of its own."""
        try:
            keep = partial(self.maintain_heartbeats, job, execution)
            with self.hearts.redis.beating(keep, RQ_HEARTBEAT_SECONDS):
                self.perform_job(job, queue, execution)
        except Exception:  # Redis went away; the job's generation has ended or will be taken back
            self.log.exception("RQ was not told how %s ended.", job.id)
        finally:
            self.executions.pop(execution.id, None)
            stopped_jobs.discard(job.id)
            self.free_hands.release()
            if not self.executions:
                attempt(lambda: self.set_state(WorkerStatus.IDLE))

    def set_state(self, state: str, *args: Any, **kwargs: Any) -> None:
        """Tell RQ how the worker is: not idle while any job runs, though it waits for more."""
        idle = state == WorkerStatus.IDLE and not self.executions
        super().set_state(WorkerStatus.BUSY if state == WorkerStatus.IDLE and not idle else state, *args, **kwargs)

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """Tell RQ that the worker lives; for each job RQ itself would do so three times, by nine messages."""
        if pipeline is not None:
            super().heartbeat(timeout, pipeline)
        elif self.last_heartbeat is None or now() - self.last_heartbeat > FRESH:
            with self.connection.pipeline(transaction=False) as together:
                super().heartbeat(timeout, together)
                together.execute()

    def handle_payload(self, message: dict[str, Any]) -> None:
        """Obey a command of RQ's; `stop-job` by RQ itself only looks at one job of a worker."""
        payload = parse_payload(message)
        if payload["command"] != "stop-job":
            super().handle_payload(message)
        for execution in list(self.executions.values()):
            if payload["command"] == "stop-job" and execution.job_id == payload["job_id"]:
                self.request_stop_execution(execution.id)

    def request_stop_execution(self, execution_id: str) -> None:
        """Cancel the generation that an execution makes; its thread notices within a step, and the job is stopped."""
        execution = self.executions.get(execution_id)
        if execution is None:
            return
        stopped_jobs.add(execution.job_id)
        if pk := making_now.get(execution.job_id):
            if connection.connection is not None and not connection.is_usable():  # it broke while it was idle
                connection.close()
            services.cancel(pk)

    def handle_job_failure(self, job: Job, *args: Any, **kwargs: Any) -> None:
        with self.stopping_one:
            self._stopped_job_id = job.id if job.id in stopped_jobs else None
            super().handle_job_failure(job, *args, **kwargs)

    def teardown(self) -> None:
        self.hands.shutdown()
        super().teardown()

    def _shutdown(self) -> None:
        # This is a signal handler: what it raises surfaces wherever the main thread is, and nothing may be in its hand.
        self._stop_requested = True
        if self.is_waiting:
            raise StopRequested

    def handle_warm_shutdown_request(self) -> None:
        stopping.set()
        super().handle_warm_shutdown_request()
