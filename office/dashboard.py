"""The day's numbers on the admin's first page: what was made, sold and failed, and how long people wait."""

from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any

from django.db.models import Count, DurationField, ExpressionWrapper, F, Model, Sum
from django.db.models.functions import TruncDate
from django.http import HttpRequest
from django.utils import timezone

from accounts.models import User
from billing.models import Purchase
from billing.money import shown
from config.charts import Box, Chart, bars, dated
from generation import queue, usage
from generation.models import LIVE, Generation, Status
from office.rights import may_see

DAYS = 14
SLOW_SHARE = 0.95
CHART_BOX = Box(top=4, right=420)  # days stand below it


@dataclass
class Day:
    """What happened on one day, UTC."""

    day: date
    images: int = 0
    succeeded: int = 0
    failed: int = 0
    sold_credits: int = 0
    sold_cents: dict[str, int] = field(default_factory=dict)  # by currency
    joined: int = 0

    @property
    def failed_percent(self) -> float | None:
        """How many of a hundred that ended by themselves failed; none when nothing did."""
        ended = self.succeeded + self.failed
        return 100 * self.failed / ended if ended else None

    @property
    def income(self) -> str:
        return " + ".join(shown(cents, currency) for currency, cents in sorted(self.sold_cents.items()))


@dataclass(frozen=True)
class Now:
    """How things stand."""

    queued: int
    processing: int
    oldest_wait_seconds: float | None
    gpu_workers: int  # as Redis knows them: none when it is away
    p95_seconds: float | None


def fill(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the numbers to the context of the first page (django-unfold calls this): those of rows that one may see."""
    days = recent_days(timezone.now().date())
    seen = {model for model in (Generation, Purchase, User) if may_see(request, model)}
    return context | {
        "title": "Today",
        "today": days[-1],
        "now": now() if Generation in seen else None,
        "may_see_sales": Purchase in seen,
        "charts": list(charts(days, seen)),
    }


def charts(days: list[Day], seen: Container[type[Model]]) -> Iterator[Chart]:
    """Yield the charts of what is counted from the models."""
    labels = dated(day.day for day in days)
    counted: list[tuple[str, type[Model], list[int]]] = [
        ("Images", Generation, [day.images for day in days]),
        ("Credits sold", Purchase, [day.sold_credits for day in days]),
        ("Failures", Generation, [day.failed for day in days]),
        ("New accounts", User, [day.joined for day in days]),
    ]
    for title, model, values in counted:
        if model in seen:
            yield bars(title.lower(), title, labels, {"": values}, CHART_BOX, top=max(values))


def recent_days(today: date) -> list[Day]:
    """Return the last days, today last."""
    days = {day: Day(day) for day in (today - timedelta(days=k) for k in reversed(range(DAYS)))}
    since = midnight(min(days))
    for at, use in usage.by_day(min(days), today).items():
        day = days[at]
        day.images, day.succeeded, day.failed = use.images + use.blanked_images, use.succeeded, use.failed
    for row in sold_since(since):
        day = days[row["day"]]
        day.sold_credits += row["credits"]
        day.sold_cents[row["currency"]] = row["cents"]
    for row in joined_since(since):
        days[row["day"]].joined = row["count"]
    return list(days.values())


def sold_since(since: datetime) -> Any:
    paid = Purchase.objects.filter(status=Purchase.Status.PAID, paid_at__gte=since, paid_at__lt=tomorrow())
    kept = F("credits") - F("taken_credits"), F("paid_cents") - F("refunded_cents")
    return paid.values("currency", day=TruncDate("paid_at")).annotate(credits=Sum(kept[0]), cents=Sum(kept[1]))


def joined_since(since: datetime) -> Any:
    joined = User.objects.filter(joined_at__gte=since, joined_at__lt=tomorrow())
    return joined.values(day=TruncDate("joined_at")).annotate(count=Count("pk"))


def now() -> Now:
    """Return the queue, the workers, and how long all but the slowest in twenty of today's generations took."""
    live = dict(
        Generation.objects.filter(status__in=LIVE)
        .values_list("status")
        .annotate(Count("pk"))
        .values_list("status", "pk__count")
    )
    oldest = Generation.objects.filter(status=Status.QUEUED).order_by("id").first()
    return Now(
        queued=live.get(Status.QUEUED, 0),
        processing=live.get(Status.PROCESSING, 0),
        oldest_wait_seconds=(timezone.now() - oldest.created_at).total_seconds() if oldest else None,
        gpu_workers=queue.gpu_workers_alive(),
        p95_seconds=p95_seconds(midnight(timezone.now().date())),
    )


def p95_seconds(since: datetime) -> float | None:
    """Return what 95 of 100 successes since then took at most, from submission to end."""
    done = Generation.objects.filter(finished_at__gte=since, status=Status.SUCCESS)
    count = done.count()
    if not count:
        return None
    took = ExpressionWrapper(F("finished_at") - F("created_at"), output_field=DurationField())
    slower = count - 1 - int(SLOW_SHARE * (count - 1))  # from this end, since fewer have to be put in order
    slowest: timedelta = done.order_by(took.desc()).values_list(took, flat=True)[slower]
    return slowest.total_seconds()


def midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, timezone.get_default_timezone())


def tomorrow() -> datetime:
    return midnight(timezone.now().date() + timedelta(days=1))
