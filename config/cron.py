"""What the clock does, for `manage.py rqcron config.cron`."""

from typing import Any

import rq.cron
from django.conf import settings
from redis import Redis
from rq import Queue
from rq.job import Job

from accounts import jobs as accounts
from billing import jobs as billing
from generation.jobs import expire, remove_unused_uploads, sum_up_usage, sweep


class HeadOfQueue(Queue):
    """Writes JSON, which is all that our workers read (RQ's cron would pickle), and puts its jobs before all others."""

    def __init__(self, name: str, connection: Redis) -> None:
        super().__init__(name, connection=connection, serializer="json")

    def enqueue(self, *args: Any, **kwargs: Any) -> Job:
        return super().enqueue(*args, **kwargs, at_front=True)


rq.cron.Queue = HeadOfQueue  # type: ignore[misc, assignment]

# In the queue that workers look into first, and in front: slow links must not keep a lapsed claim waiting. A sweep that
# no worker took before the next one is due is dropped by its ttl: they don't pile up.
rq.cron.register(
    sweep,
    queue_name="fetch",
    interval=settings.SWEEP_SECONDS,
    ttl=settings.SWEEP_SECONDS,
    result_ttl=0,
    failure_ttl=3600,
)

rq.cron.register(accounts.sweep, queue_name="io", interval=60, ttl=60, result_ttl=0, failure_ttl=3600)
rq.cron.register(accounts.forget_counters, queue_name="io", cron="29 * * * *", job_timeout=3600, result_ttl=0)
rq.cron.register(accounts.expire, queue_name="io", cron="53 3 * * *", job_timeout=3600, result_ttl=0)
rq.cron.register(billing.sweep, queue_name="io", interval=60, ttl=60, result_ttl=0, failure_ttl=3600)
rq.cron.register(billing.reconcile, queue_name="io", cron="17 3 * * *", job_timeout=3600, result_ttl=0)
rq.cron.register(billing.expire, queue_name="io", cron="29 3 * * *", result_ttl=0)
rq.cron.register(expire, queue_name="io", cron="41 * * * *", job_timeout=3600, result_ttl=0)
# All that was ever uploaded is listed, a thousand names at a time.
rq.cron.register(remove_unused_uploads, queue_name="io", cron="5 4 * * *", job_timeout=6 * 3600, result_ttl=0)
# Often, since a run finds in no time that there is nothing to do: the first one after midnight does it.
rq.cron.register(sum_up_usage, queue_name="io", interval=900, ttl=900, result_ttl=0, failure_ttl=24 * 3600)
