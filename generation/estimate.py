"""How long a generation will take, estimated high: callers sleep it once and expect the image to be there."""

from django.db.models import QuerySet, Sum

from generation import queue
from generation.models import LIVE, Generation, Status

UNKNOWN_SECONDS_PER_CREDIT = 10.0  # before anything was made
RECENT = 50
MARGIN = 1.3


def seconds_per_credit() -> float:
    """Return the 90th percentile of recent computing times, a credit being a fixed amount of work."""
    recent = (
        Generation.objects.filter(status=Status.SUCCESS).order_by("-id").values_list("compute_seconds", "held_credits")
    )
    times = sorted(seconds / credits for seconds, credits in recent[:RECENT])
    return times[int(len(times) * 0.9)] if times else UNKNOWN_SECONDS_PER_CREDIT


def eta_seconds(generation: Generation) -> float:
    """Return the seconds until the generation will be over, zero when it is."""
    if generation.is_final:
        return 0.0
    return queue_seconds(Generation.objects.filter(status__in=LIVE, pk__lte=generation.pk))


def queue_seconds(live: QuerySet[Generation]) -> float:
    """Return the seconds until the given live generations will all be over."""
    credits = live.aggregate(credits=Sum("held_credits"))["credits"] or 0
    return MARGIN * credits * seconds_per_credit() / max(1, queue.gpu_workers_alive())
