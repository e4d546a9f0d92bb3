"""How long a generation will take, estimated high: callers sleep it once and expect the image to be there."""

from django.db.models import QuerySet, Sum
from django.utils import timezone

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
    ahead = Generation.objects.filter(status__in=LIVE, pk__lt=generation.pk)
    # The workers share what is ahead; the generation itself is made by one of them.
    return MARGIN * seconds_per_credit() * (shared_credits(ahead) + generation.held_credits)


def queue_seconds(live: QuerySet[Generation]) -> float:
    """Return the seconds until the given live generations will all be over."""
    return MARGIN * seconds_per_credit() * shared_credits(live)


def shared_credits(live: QuerySet[Generation]) -> float:
    """Return the work of the given live generations for each worker.

    Workers are counted by what they are doing now: when there is a queue, all of them are busy, and one that died
    counts no longer than its lease.
    """
    credits = live.aggregate(credits=Sum("held_credits"))["credits"] or 0
    busy = Generation.objects.filter(status=Status.PROCESSING, lease_until__gt=timezone.now()).count()
    return credits / max(1, busy)
