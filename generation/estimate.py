"""How long a generation will take, estimated high: callers sleep it once and expect the image to be there."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Count, F, Q, QuerySet, Sum
from django.utils import timezone

from config import sql
from generation import fairness, pace, queue
from generation.models import LIVE, Generation, Status

MARGIN = 1.3
SIGHT_SECONDS = 1.0
LATEST = 2**63 - 1  # above every id
MINE = """
    SELECT g.status, p.queue_weight, SUM(g.held_credits)
    FROM generation_generation g
    JOIN accounts_user u ON u.id = g.account_id LEFT JOIN accounts_plan p ON p.id = u.plan_id
    WHERE g.account_id = %s AND g.status IN ('queued', 'processing') AND (g.status = 'processing' OR g.id <= %s)
    GROUP BY g.status, p.queue_weight
"""


@dataclass(frozen=True)
class Sight:
    """What all estimates of a moment have in common: how fast it goes, and what everybody has in the queue."""

    seen_at: float  # monotonic seconds
    recent: pace.Pace
    workers: int
    loading_seconds: float  # until there is a worker; zero when there is one
    used: Mapping[int, float]  # seconds of the workers, by account
    accounts: Sequence[tuple[int, int | None, int, int]]  # account, its plan's weight, credits that run, that wait


latest: Sight | None = None  # of this process


def sight() -> Sight:
    """Return a look at the queue that is at most SIGHT_SECONDS old: of many submissions a second each needs none."""
    global latest
    if latest is None or time.monotonic() - latest.seen_at >= SIGHT_SECONDS:
        latest = look()
    return latest


def look() -> Sight:
    recent, workers = pace.recent(), ready_workers()
    live = Generation.objects.filter(status__in=LIVE).order_by()
    accounts = live.values_list("account", "account__plan__queue_weight").annotate(
        running=Sum("held_credits", filter=Q(status=Status.PROCESSING), default=0),
        waiting=Sum("held_credits", filter=Q(status=Status.QUEUED), default=0),
    )
    loading_seconds = 0.0 if workers else queue.loading_seconds()
    used = fairness.used_seconds(recent.computing_seconds)
    return Sight(time.monotonic(), recent, workers, loading_seconds, used, list(accounts))


def eta_seconds(generation: Generation) -> float:
    """Return the seconds until the generation will be over, zero when it is."""
    if generation.is_final:
        return 0.0
    now = sight()
    ahead = 0.0 if generation.status == Status.PROCESSING else credits_ahead(generation, now)
    # The workers share what is ahead; the generation itself is made by one of them, beside others.
    seconds = now.recent.computing_seconds * ahead / max(1, now.workers)
    return MARGIN * (seconds + now.recent.passing_seconds * generation.held_credits) + now.loading_seconds


def promised_seconds(generation: Generation, at: datetime) -> float:
    """Return the seconds that are left at an instant of what was estimated at submission; asks nobody."""
    if generation.expected_at is None:
        return 0.0
    return max(0.0, (generation.expected_at - at).total_seconds())


def credits_ahead(generation: Generation, now: Sight) -> float:
    """Return the work that will be done before this generation's turn, as fairness.py hands out the turns.

    It may be one that is only about to be written down.

    The account's own older ones come first. Of every other account's come those that run, and of those that wait as
    many as keep that account level with this one, by what both used and by their plans' weights.
    """
    sums = sql.rows(MINE, generation.account_id, generation.pk or LATEST)
    if generation.pk and not sums:  # it is over by now
        return 0.0
    own = {status: credits for status, _, credits in sums}
    own_running, own_older = own.get(Status.PROCESSING, 0), own.get(Status.QUEUED, 0)
    if generation.pk:
        own_older = max(0, own_older - generation.held_credits)  # without itself
    plan = None if sums else generation.account.plan
    weight = sums[0][1] if sums else plan and plan.queue_weight
    ahead = float(own_running + own_older)
    pace_seconds, credits = now.recent.computing_seconds, own_older + generation.held_credits
    level = (now.used.get(generation.account_id, 0.0) + credits * pace_seconds) / (weight or 1)
    for account, other_weight, running, waiting in now.accounts:
        if account != generation.account_id:
            share_seconds = level * (other_weight or 1) - now.used.get(account, 0.0)
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
