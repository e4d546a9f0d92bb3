"""What the clock does, for `manage.py rqcron config.cron`."""

from functools import partial

import rq.cron
from django.conf import settings
from rq import Queue

from generation.jobs import sweep

# RQ's cron always pickles; our workers read JSON only.
rq.cron.Queue = partial(Queue, serializer="json")  # type: ignore[misc, assignment]

# A sweep that no worker took before the next one is due is dropped by its ttl: they don't pile up.
rq.cron.register(sweep, queue_name="io", interval=settings.SWEEP_SECONDS, ttl=settings.SWEEP_SECONDS)
