"""How much was used, by day and model, and by account and key; the only module that writes UsageDay and SiteDay.

Days that are over are summed up once by the clock, so a page reads some rows a day however many generations there
were, and of the whole site one for each model; what ended later is summed up when it is asked for. A generation counts
on the day it ended, which never changes then. Latencies are kept as counts in buckets a tenth apart: their percentiles
are right to five in a hundred.
"""

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypeVar

from django.db import transaction
from django.db.models import Case, Count, F, FloatField, Func, IntegerField, Max, Min, Q, QuerySet, Sum, Value, When
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Floor, Greatest, Ln, TruncDate
from django.utils import timezone

from accounts.models import User
from generation.models import Generation, SiteDay, Status, SummedDay, Sums, UsageDay

RATIO = 1.1  # between a bucket's ends
SHORTEST_SECONDS = 0.01
SETTLE_SECONDS = 3600  # after midnight: what ended before it is in the database by then
DAYS_AT_ONCE = 31  # that one run of the clock sums up
Row = TypeVar("Row", UsageDay, SiteDay)


@dataclass
class Use:
    """What was used in some time; sums."""

    succeeded: int = 0
    failed: int = 0
    canceled: int = 0
    images: int = 0  # delivered
    credits: int = 0
    latencies: Counter[int] = field(default_factory=Counter)  # bucket → successes
    blanked_images: int = 0

    def add(self, other: "Use | Sums") -> None:
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for bucket, count in other.latencies.items():
            self.latencies[int(bucket)] += count

    @property
    def generations(self) -> int:
        return self.succeeded + self.failed + self.canceled

    def latency_seconds(self, share: float) -> float | None:
        """Return how long the given share of the successes took at most, from submission to end."""
        wanted, seen = share * sum(self.latencies.values()), 0
        for bucket, count in sorted(self.latencies.items()):
            seen += count
            if seen >= wanted:
                return SHORTEST_SECONDS * RATIO ** (bucket + 0.5)
        return None

    @property
    def p50_seconds(self) -> float | None:
        return self.latency_seconds(0.5)

    @property
    def p95_seconds(self) -> float | None:
        return self.latency_seconds(0.95)


COUNTS = [each.name for each in fields(Use) if each.name != "latencies"]


@dataclass(frozen=True)
class Part:
    """What a sum is for."""

    day: date  # UTC
    api_key_id: int | None
    model: str


def bucket(seconds: float) -> int:
    """Return the bucket of a latency, as the database computes it."""
    return math.floor(math.log(max(seconds, SHORTEST_SECONDS) / SHORTEST_SECONDS) / math.log(RATIO))


class Seconds(Func):
    """A duration as a number."""

    template = "EXTRACT(EPOCH FROM (%(expressions)s))"
    output_field = FloatField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """SQLite's durations are whole microseconds."""
        return self.as_sql(compiler, connection, template="((%(expressions)s) / 1000000.0)", **context)


LATENCY = Greatest(Seconds(F("finished_at") - F("created_at")), Value(SHORTEST_SECONDS))
BUCKET = Cast(Floor(Ln(LATENCY / Value(SHORTEST_SECONDS)) / Value(math.log(RATIO))), IntegerField())
DELIVERED = Case(
    When(status=Status.SUCCESS, then=Cast(KeyTextTransform("samples", "params"), IntegerField()) - F("blanked_images")),
    default=0,
)


def used(account: User, since: date, until: date) -> dict[Part, Use]:
    """Return what the account used on the days from `since` to `until`, both included."""
    last = last_summed_day()  # first: a day that is summed up while this runs counts once
    uses: defaultdict[Part, Use] = defaultdict(Use)
    for row in summed_up(UsageDay.objects.filter(account=account), since, until, last):
        uses[Part(row.day, row.api_key_id, row.model)].add(row)
    for (_, part), use in live(Generation.objects.filter(account=account), since, until, last).items():
        uses[part].add(use)
    return dict(uses)


def of_site(since: date, until: date) -> dict[Part, Use]:
    """Return what all accounts used on these days, by model, whatever the key."""
    last = last_summed_day()  # first, as above
    uses: defaultdict[Part, Use] = defaultdict(Use)
    for row in summed_up(SiteDay.objects.all(), since, until, last):
        uses[Part(row.day, None, row.model)].add(row)
    for (_, part), use in live(Generation.objects.all(), since, until, last).items():
        uses[Part(part.day, None, part.model)].add(use)
    return dict(uses)


def by_model(since: date, until: date) -> dict[str, Use]:
    """Return what all accounts used on these days, by model; those that never came to a model by an empty name."""
    uses: defaultdict[str, Use] = defaultdict(Use)
    for part, use in of_site(since, until).items():
        uses[part.model].add(use)
    return dict(uses)


def by_day(since: date, until: date) -> dict[date, Use]:
    """Return what all accounts used on each of these days on which something ended."""
    uses: defaultdict[date, Use] = defaultdict(Use)
    for part, use in of_site(since, until).items():
        uses[part.day].add(use)
    return dict(uses)


def totals() -> Use:
    """Return what all accounts ever used, without latencies."""
    last = last_summed_day()  # first, as above
    days = summed_up(SiteDay.objects.all(), date.min, date.max, last).aggregate(
        **{name: Sum(name, default=0) for name in COUNTS}
    )
    since = {"finished_at__gte": datetime.combine(last + timedelta(days=1), time.min, UTC)} if last else {}
    later = Generation.objects.filter(finished_at__isnull=False, **since).aggregate(
        succeeded=Count("pk", filter=Q(status=Status.SUCCESS)),
        failed=Count("pk", filter=Q(status=Status.FAILED)),
        canceled=Count("pk", filter=Q(status=Status.CANCELED)),
        images=Sum(DELIVERED, default=0),
        blanked_images=Sum("blanked_images", default=0),
        credits=Sum("charged_credits", default=0),
    )
    return Use(**{name: days[name] + later[name] for name in COUNTS})


def summed_up(days: QuerySet[Row], since: date, until: date, last: date | None) -> QuerySet[Row]:
    """Return the sums of these days, up to the last that is summed up."""
    return days.filter(day__gte=since, day__lte=min(until, last)) if last else days.none()


def live(generations: QuerySet[Generation], since: date, until: date, last: date | None) -> dict[tuple[int, Part], Use]:
    """Return the sums of the generations that ended on those of these days that are not summed up, as `summed` does."""
    first = max(since, last + timedelta(days=1)) if last else since
    return summed(generations.filter(**ended_on(first, until))) if first <= until else {}


def last_summed_day() -> date | None:
    return SummedDay.objects.aggregate(day=Max("day"))["day"]


def ended_on(since: date, until: date) -> dict[str, datetime]:
    """Return the condition for generations that ended on these days."""
    return {
        "finished_at__gte": datetime.combine(since, time.min, UTC),
        "finished_at__lt": datetime.combine(until + timedelta(days=1), time.min, UTC),
    }


def summed(ended: QuerySet[Generation]) -> dict[tuple[int, Part], Use]:
    """Return the sums of generations that ended, by account and part."""
    rows = (
        ended.annotate(day=TruncDate("finished_at", tzinfo=UTC), bucket=BUCKET)
        .values("account_id", "day", "api_key_id", "model", "status", "bucket")
        .annotate(
            count=Count("pk"),
            images=Sum(DELIVERED),
            blanked_images=Sum("blanked_images"),
            credits=Sum("charged_credits"),
        )
        .order_by()
    )
    uses: defaultdict[tuple[int, Part], Use] = defaultdict(Use)
    for row in rows:
        use = Use(images=row["images"], blanked_images=row["blanked_images"], credits=row["credits"])
        if row["status"] == Status.SUCCESS:
            use.succeeded, use.latencies = row["count"], Counter({row["bucket"]: row["count"]})
        elif row["status"] == Status.FAILED:
            use.failed = row["count"]
        else:
            use.canceled = row["count"]
        uses[row["account_id"], Part(row["day"], row["api_key_id"], row["model"])].add(use)
    return dict(uses)


def sum_up() -> int:
    """Sum up the days that are over, of all accounts; return how many were done. Safe to run at any time, anywhere."""
    first_end = Generation.objects.aggregate(at=Min("finished_at"))["at"]
    if first_end is None:
        return 0
    last = last_summed_day()
    day = last + timedelta(days=1) if last else first_end.astimezone(UTC).date()
    today = (timezone.now() - timedelta(seconds=SETTLE_SECONDS)).astimezone(UTC).date()
    done = 0
    while day < today and done < DAYS_AT_ONCE:
        sum_up_day(day)
        day, done = day + timedelta(days=1), done + 1
    return done


@transaction.atomic
def sum_up_day(day: date) -> None:
    """Write the sums of one day, unless somebody did."""
    if not SummedDay.objects.get_or_create(day=day)[1]:
        return
    uses = summed(Generation.objects.filter(**ended_on(day, day)))
    UsageDay.objects.bulk_create(
        [
            UsageDay(account_id=account_id, day=day, api_key_id=part.api_key_id, model=part.model, **vars(use))
            for (account_id, part), use in uses.items()
        ],
        batch_size=1000,
    )
    of_models: defaultdict[str, Use] = defaultdict(Use)
    for (_, part), use in uses.items():
        of_models[part.model].add(use)
    SiteDay.objects.bulk_create(SiteDay(day=day, model=model, **vars(use)) for model, use in of_models.items())
