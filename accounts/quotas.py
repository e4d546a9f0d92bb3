"""The one place that says how much an account may do; the only module that writes Usage and KeySpending.

Counters are taken by one conditional upsert inside the caller's transaction, so racing requests never pass a limit,
and a request that is refused for another reason gives back what it took. Everything is counted, limited or not: what
was used is shown, and a limit that comes later counts from the beginning of its period.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import F, Q
from django.utils import timezone

from accounts.models import ApiKey, KeySpending, Plan, QuotaOverride, Usage, User
from config import sql

OWNERS = {Usage: "user_id", KeySpending: "api_key_id"}
# A counter without a limit is compared with nothing, and so always grows.
TAKE = """
    INSERT INTO {table} ({owner}, period, count) VALUES {rows}
    ON CONFLICT ({owner}, period) DO UPDATE SET count = {table}.count + excluded.count
    WHERE COALESCE({table}.count + excluded.count <= CAST(CASE {table}.period {limits} END AS bigint), true)
    RETURNING period
"""
OVER_EVERYWHERE = timedelta(days=2)  # what was a day ago in UTC may be today where an account is
AT_ONCE_RETRY_SECONDS = 5  # nobody knows when a generation will end, so callers are told to ask again soon


class RateLimited(Exception):
    """Too many requests in this minute, or too many generations at once; the message says when to try again."""

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class AccountSuspended(Exception):
    """Staff have stopped the account; the message is their reason."""


class QuotaExceeded(Exception):
    """The images of the period are used up."""

    def __init__(self, period: str) -> None:
        super().__init__(f"The {period} limit is reached.")
        self.period = period  # "daily" or "monthly"


class SpendingCapReached(Exception):
    """The key may not spend what the request costs this month, whatever the account has."""

    def __init__(self, spending: "Allowance") -> None:
        super().__init__(f"{spending.remaining} of {spending.limit} credits are left to this API key this month.")
        self.spending = spending


@dataclass(frozen=True)
class Limits:
    """What an account may do now; None is no limit."""

    largest_side_pixels: int = 1024
    most_steps: int = 51
    most_samples: int = 4
    requests_per_minute: int | None = None
    images_per_day: int | None = None
    images_per_month: int | None = None
    generations_at_once: int | None = None


@dataclass(frozen=True)
class Allowance:
    """One counted limit: how much of it is used."""

    name: str  # as in Limits
    limit: int | None  # none: no limit
    used: int
    resets_at: datetime | None  # none: as soon as something ends

    @property
    def remaining(self) -> int | None:
        return None if self.limit is None else max(0, self.limit - self.used)


def limits(user: User, is_overridden: bool = True) -> Limits:
    """Return the account's limits: of its newest override that has not ended, else of its plan, else the service's.

    A caller that knows already that there is no override need not have them looked up.
    """
    sources: list[QuotaOverride | Plan | None] = [user.plan]
    if is_overridden:
        sources[:0] = QuotaOverride.objects.filter(user=user, ends_at__gt=timezone.now()).order_by("-pk")
    effective: dict[str, Any] = {}
    for name in (field.name for field in fields(Limits)):
        values = (getattr(source, name) for source in sources if source)
        value = next((value for value in values if value is not None), None)
        if value is not None:
            effective[name] = value
    return Limits(**effective)


def refuse_suspended(user: User) -> None:
    """Let nothing new begin while an account is suspended; what it has stays.

    Raises:
        AccountSuspended
    """
    if user.suspended_at:
        raise AccountSuspended(user.suspension_reason)


def today(user: User) -> date:
    """Return the day that it is where the account is."""
    return local_day(user, timezone.now())


def admit(
    user: User,
    api_key: ApiKey | None,
    images: int,
    credits: int,
    live: Callable[[], int],
    allowed: Limits,
    counted_on: date,
) -> None:
    """Count one request, its images, and through which key the credits may go, in the caller's transaction.

    `allowed` comes from `limits`. `live` returns how many generations of the account are queued or running, this one
    included, and is asked only where that is limited; the caller holds a lock that keeps it from growing meanwhile.
    `counted_on` is `today`, which `give_back` wants to know as well.

    Raises:
        RateLimited, QuotaExceeded, SpendingCapReached: the caller's transaction must be rolled back.
    """
    now = timezone.now()
    counted = {
        minute(now): (1, allowed.requests_per_minute),
        day(counted_on): (images, allowed.images_per_day),
        month(counted_on): (images, allowed.images_per_month),
    }
    taken = take(Usage, user.pk, counted)
    if minute(now) not in taken:
        seconds = 60 - now.second
        raise RateLimited(f"Try again in {seconds} seconds.", seconds)
    if allowed.generations_at_once is not None and live() > allowed.generations_at_once:
        words = f"Generations at once: {allowed.generations_at_once} is your limit; try again when one has ended."
        raise RateLimited(words, AT_ONCE_RETRY_SECONDS)
    if day(counted_on) not in taken:
        raise QuotaExceeded("daily")
    if month(counted_on) not in taken:
        raise QuotaExceeded("monthly")
    if api_key and not take(KeySpending, api_key.pk, {month(counted_on): (credits, api_key.spending_cap_credits)}):
        raise SpendingCapReached(spending(api_key))


def give_back(user_id: int, api_key_id: int | None, images: int, credits: int, counted_on: date) -> None:
    """Return images that were counted on a day and not made, and a key's credits that were not charged.

    Joins the caller's transaction; must be called once for each admission.
    """
    if images:
        used = Usage.objects.filter(user_id=user_id, period__in=[day(counted_on), month(counted_on)])
        used.filter(count__gte=images).update(count=F("count") - images)
    if credits and api_key_id:
        spent = KeySpending.objects.filter(api_key_id=api_key_id, period=month(counted_on))
        spent.filter(count__gte=credits).update(count=F("count") - credits)


def allowances(user: User, live: int = 0, allowed: Limits | None = None) -> list[Allowance]:
    """Return every counted limit with how much of it is used; `allowed` from `limits`."""
    now, allowed = timezone.now(), allowed or limits(user)
    on = local_day(user, now)
    periods = [minute(now), day(on), month(on)]
    used = dict(Usage.objects.filter(user=user, period__in=periods).values_list("period", "count"))
    resets = [
        next_minute(now),
        midnight(user, on + timedelta(days=1)),
        midnight(user, first_of_next_month(on)),
    ]
    names = ("requests_per_minute", "images_per_day", "images_per_month")
    counted = [
        Allowance(name, getattr(allowed, name), used.get(period, 0), resets_at)
        for name, period, resets_at in zip(names, periods, resets, strict=True)
    ]
    return [*counted, Allowance("generations_at_once", allowed.generations_at_once, live, None)]


def rate(user: User, allowed: Limits) -> Allowance:
    """Return the requests of this minute under the limits given; where they are not limited, they are not looked up."""
    now, used = timezone.now(), 0
    if allowed.requests_per_minute is not None:
        counted = Usage.objects.filter(user=user, period=minute(now)).values_list("count", flat=True)
        used = counted.first() or 0
    return Allowance("requests_per_minute", allowed.requests_per_minute, used, next_minute(now))


def spending(api_key: ApiKey) -> Allowance:
    """Return the credits that went, or may still go, through the key this month."""
    return spendings(api_key.user, [api_key])[0][1]


def spendings(user: User, api_keys: Iterable[ApiKey]) -> list[tuple[ApiKey, Allowance]]:
    """Return each of the account's keys with the credits that went, or may still go, through it this month."""
    on = today(user)
    spent = KeySpending.objects.filter(api_key__user=user, period=month(on)).values_list("api_key_id", "count")
    used, resets_at = dict(spent), midnight(user, first_of_next_month(on))
    return [
        (key, Allowance("spending_cap_credits", key.spending_cap_credits, used.get(key.pk, 0), resets_at))
        for key in api_keys
    ]


def forget() -> None:
    """Remove the counters of minutes, days and months that are over everywhere: nothing reads them any more.

    Reads the whole table, which is small as long as this is done every hour.
    """
    now = timezone.now()
    over = (now - OVER_EVERYWHERE).date()
    minutes = Q(period__contains="T", period__lt=minute(now - timedelta(hours=1)))
    Usage.objects.filter(minutes | Q(period__lt=day(over))).exclude(period=month(over)).delete()
    KeySpending.objects.filter(period__lt=month(over)).delete()


def take(
    model: type[Usage] | type[KeySpending], owner_id: int, counted: Mapping[str, tuple[int, int | None]]
) -> set[str]:
    """Add to the owner's counters of some periods, each by its amount if that stays within its limit; tell which did.

    One statement, whether a counter is the first of its period or not.
    """
    within = {
        period: (amount, limit) for period, (amount, limit) in counted.items() if limit is None or amount <= limit
    }
    if not within:
        return set()
    table = model._meta.db_table
    rows = ", ".join(["(%s, %s, %s)"] * len(within))
    limits = " ".join(["WHEN %s THEN %s"] * len(within))
    arguments: list[Any] = [value for period, (amount, _) in within.items() for value in (owner_id, period, amount)]
    arguments += [value for period, (_, limit) in within.items() for value in (period, limit)]
    statement = TAKE.format(table=table, owner=OWNERS[model], rows=rows, limits=limits)
    return {period for (period,) in sql.rows(statement, *arguments)}


def local_day(user: User, at: datetime) -> date:
    return at.astimezone(ZoneInfo(user.time_zone)).date()


def midnight(user: User, of: date) -> datetime:
    return datetime.combine(of, time.min, ZoneInfo(user.time_zone))


def first_of_next_month(of: date) -> date:
    return (of.replace(day=1) + timedelta(days=32)).replace(day=1)


def next_minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0) + timedelta(minutes=1)


def minute(at: datetime) -> str:
    """Return the name of the minute, UTC."""
    return at.strftime("%Y-%m-%dT%H:%M")


def day(on: date) -> str:
    return on.isoformat()


def month(on: date) -> str:
    return on.strftime("%Y-%m")
