"""A gpu worker whose device fails at its first job and at every call from then on, as CUDA does."""

from typing import Any, NoReturn

from rq.job import Job
from rq.queue import Queue

from generation.worker import GpuWorker


def fail(*_: Any) -> NoReturn:
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


class PoisonedWorker(GpuWorker):
    """Its device is well while it loads and warms up."""

    def execute_job(self, job: Job, queue: Queue) -> None:
        self.loaded.predict = self.loaded.synchronize = fail
        super().execute_job(job, queue)
