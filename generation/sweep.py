"""Mends what was left behind: lapsed claims, lost nudges, what is too old. Safe to run at any time, anywhere."""

from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from generation import erasure, idempotency, queue, services
from generation.models import Generation, Status
from generation.webhooks import outbox, sending

NUDGE_AGAIN_SECONDS = 10
BATCH = 500


def sweep() -> None:
    """Take back lapsed claims, ring again for queued generations that Redis has forgotten, and forget what is old."""
    now = timezone.now()
    lapsed = Generation.objects.filter(status=Status.PROCESSING, lease_until__lt=now)
    for pk, attempt in lapsed.values_list("pk", "attempt")[:BATCH]:
        services.take_back(pk, attempt)
    known = queue.waiting_job_ids()
    quiet = Generation.objects.filter(
        status=Status.QUEUED, nudged_at__lt=now - timedelta(seconds=min(NUDGE_AGAIN_SECONDS, settings.LEASE_SECONDS))
    )
    for generation in quiet.order_by("id").iterator():
        if queue.job_id(generation) not in known:
            Generation.objects.filter(pk=generation.pk).update(nudged_at=now)
            queue.ring(generation)
    sending.give_up_old()
    outbox.delete_told()
    erasure.ring_overdue()
    idempotency.forget()
