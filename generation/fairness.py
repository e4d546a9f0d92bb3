"""Says whose generation comes next, so that one account's thousand keep nobody waiting.

The next one is of the account that used the workers least in the last minutes, by the weight of its plan. What an
account used leaves the window again, so nobody waits forever: whoever got nothing for that long is first.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from django.db.models import F, Max, Min, Q, Sum
from django.utils import timezone

from config import sql
from generation import pace
from generation.models import Generation, Status

WINDOW = timedelta(minutes=10)
WAITING = """
    SELECT g.account_id, p.queue_weight, MIN(g.id)
    FROM generation_generation g
    JOIN accounts_user u ON u.id = g.account_id LEFT JOIN accounts_plan p ON p.id = u.plan_id
    WHERE g.status = 'queued' AND g.inputs_ready
    GROUP BY g.account_id, p.queue_weight
"""


def to_make() -> list[int]:
    """Return the next generation of every account that waits for a gpu worker, the one to make first in front."""
    return in_turn(sql.rows(WAITING), lambda: used_seconds(pace.recent().computing_seconds))


def to_fetch() -> list[int]:
    """Return the next generation of every account that waits for its links, the one to fetch first in front."""
    now = timezone.now()
    idle = Q(fetch_lease_until=None) | Q(fetch_lease_until__lte=now)
    waiting = Generation.objects.filter(idle, status=Status.QUEUED, inputs_ready=False)
    recent = Generation.objects.filter(fetch_lease_until__gt=now - WINDOW).order_by()
    served = recent.values_list("account").annotate(at=Max("fetch_lease_until"))
    accounts = waiting.order_by().values_list("account", "account__plan__queue_weight").annotate(first=Min("pk"))
    return in_turn(list(accounts), lambda: {account: (at - now + WINDOW).total_seconds() for account, at in served})


def in_turn(accounts: Sequence[tuple[int, int | None, int]], ask_used: Callable[[], Mapping[int, float]]) -> list[int]:
    """Return each account's oldest, by what the account used for its weight, and then by age.

    `accounts` are those that wait, with their plans' weights and their oldest; what they used is only asked where
    several do.
    """
    used = ask_used() if len(accounts) > 1 else {}
    turns = sorted((used.get(account, 0.0) / (weight or 1), first) for account, weight, first in accounts)
    return [pk for _, pk in turns]


def used_seconds(pace_seconds: float) -> dict[int, float]:
    """Return the seconds of gpu workers that each account used lately, and will have used when what runs is over.

    `pace_seconds` is what a credit takes (pace.py).
    """
    since = timezone.now() - WINDOW
    over = Generation.objects.filter(finished_at__gt=since, started_at__isnull=False).order_by()
    made = Q(status=Status.SUCCESS)
    spent = over.values_list("account").annotate(
        seconds=Sum("accelerator_seconds", filter=made, default=0.0),
        # What was canceled or failed has no such figure, and must not come for nothing.
        lost=Sum(F("finished_at") - F("started_at"), filter=~made, default=timedelta()),
    )
    used = {account: seconds + lost.total_seconds() for account, seconds, lost in spent}
    running = Generation.objects.filter(status=Status.PROCESSING).order_by()
    for account, credits in running.values_list("account").annotate(credits=Sum("held_credits")):
        used[account] = used.get(account, 0.0) + credits * pace_seconds
    return used
