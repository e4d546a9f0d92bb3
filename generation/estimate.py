"""How long a generation will take, estimated high: callers sleep it once and expect the image to be there."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Count, F, Q, QuerySet, Sum
from django.utils import timezone

from generation import fairness, pace, queue
from generation.models import LIVE, Generation, Status

MARGIN = 1.3


def eta_seconds(generation: Generation) -> float:
    """Return the seconds until the generation will be over, zero when it is."""
    if generation.is_final:
        return 0.0
    recent = pace.recent()
    ahead = 0.0 if generation.status == Status.PROCESSING else credits_ahead(generation, recent.computing_seconds)
    # The workers share what is ahead; the generation itself is made by one of them, beside others.
    workers = ready_workers()
    seconds = recent.computing_seconds * ahead / max(1, workers) + recent.passing_seconds * generation.held_credits
    return MARGIN * seconds + (0.0 if workers else queue.loading_seconds())


def promised_seconds(generation: Generation, at: datetime) -> float:
    """Return the seconds that are left at an instant of what was estimated at submission; asks nobody."""
    if generation.expected_at is None:
        return 0.0
    return max(0.0, (generation.expected_at - at).total_seconds())


def credits_ahead(generation: Generation, pace_seconds: float) -> float:
    """Return the work that will be done before this generation's turn, as fairness.py hands out the turns.

    The account's own older ones come first. Of every other account's come those that run, and of those that wait as
    many as keep that account level with this one, by what both used and by their plans' weights.
    """
    live = Generation.objects.filter(status__in=LIVE).order_by()
    accounts = live.values_list("account", "account__plan__queue_weight").annotate(
        running=Sum("held_credits", filter=Q(status=Status.PROCESSING), default=0),
        waiting=Sum("held_credits", filter=Q(status=Status.QUEUED), default=0),
        older=Sum("held_credits", filter=Q(status=Status.QUEUED, pk__lt=generation.pk), default=0),
    )
    used = fairness.used_seconds(pace_seconds)
    mine = next((row for row in accounts if row[0] == generation.account_id), None)
    if mine is None:
        return 0.0
    _, weight, running, _, older = mine
    ahead = float(running + older)
    level = (used.get(generation.account_id, 0.0) + (older + generation.held_credits) * pace_seconds) / (weight or 1)
    for account, other_weight, running, waiting, _ in accounts:
        if account != generation.account_id:
            share_seconds = level * (other_weight or 1) - used.get(account, 0.0)
            ahead += running + min(waiting, max(0.0, share_seconds / pace_seconds))
    return ahead


def queue_seconds(live: QuerySet[Generation]) -> float:
    """Return the seconds until the given live generations will all be over."""
    credits = live.aggregate(credits=Sum("held_credits"))["credits"] or 0
    if not credits:
        return 0.0
    workers = ready_workers()
    return MARGIN * pace.recent().computing_seconds * credits / max(1, workers) + (
        0.0 if workers else queue.loading_seconds()
    )


def ready_workers() -> int:
    """Return how many workers have loaded the model: those that Redis knows, or at least those that are busy.

    One that died counts no longer than its lease.
    """
    busy = Generation.objects.filter(status=Status.PROCESSING, lease_until__gt=timezone.now()).count()
    return max(-(-busy // settings.BATCH_IMAGES), queue.gpu_workers_alive())


def held(since: timedelta) -> tuple[int, int]:
    """Return how many estimates were kept, of how many, among the generations that succeeded lately."""
    recent = Generation.objects.filter(
        status=Status.SUCCESS, finished_at__gt=timezone.now() - since, expected_at__isnull=False
    )
    counts = recent.aggregate(kept=Count("pk", filter=Q(finished_at__lte=F("expected_at"))), all=Count("pk"))
    return counts["kept"], counts["all"]
