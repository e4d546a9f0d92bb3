"""How much an account used, by day, key and model; the only module that writes UsageDay.

Days that are over are summed up once by the clock, so the page reads some rows a day however many generations there
were; what ended later is summed up when it is asked for. A generation counts on the day it ended, which never changes
then. Latencies are kept as counts in buckets a tenth apart: their percentiles are right to five in a hundred.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Case, Count, F, FloatField, Func, IntegerField, Max, Min, Q, QuerySet, Sum, Value, When
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Floor, Greatest, Ln, TruncDate
from django.utils import timezone

from accounts.models import User
from generation.models import Generation, Status, SummedDay, UsageDay

RATIO = 1.1  # between a bucket's ends
SHORTEST_SECONDS = 0.01
SETTLE_SECONDS = 3600  # after midnight: what ended before it is in the database by then
DAYS_AT_ONCE = 31  # that one run of the clock sums up


@dataclass
class Use:
    """What was used in some time; sums."""

    succeeded: int = 0
    failed: int = 0
    canceled: int = 0
    images: int = 0
    credits: int = 0
    latencies: Counter[int] = field(default_factory=Counter)  # bucket → successes

    def add(self, other: "Use | UsageDay") -> None:
        for name in ("succeeded", "failed", "canceled", "images", "credits"):
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
    uses: defaultdict[Part, Use] = defaultdict(Use)
    own = UsageDay.objects.filter(account=account), Generation.objects.filter(account=account)
    for part, use in parts(*own, since, until):
        uses[part].add(use)
    return dict(uses)


def by_model(since: date, until: date) -> dict[str, Use]:
    """Return what all accounts used on these days, by model; those that never came to a model by an empty name."""
    uses: defaultdict[str, Use] = defaultdict(Use)
    for part, use in parts(UsageDay.objects.all(), Generation.objects.all(), since, until):
        uses[part.model].add(use)
    return dict(uses)


def totals() -> Use:
    """Return what all accounts ever used, without latencies."""
    names = ("succeeded", "failed", "canceled", "images", "credits")
    last = last_summed_day()  # first: a day that is summed up while this runs counts once
    summed_up = UsageDay.objects.filter(day__lte=last) if last else UsageDay.objects.none()
    days = summed_up.aggregate(**{name: Sum(name, default=0) for name in names})
    since = {"finished_at__gte": datetime.combine(last + timedelta(days=1), time.min, UTC)} if last else {}
    later = Generation.objects.filter(finished_at__isnull=False, **since).aggregate(
        succeeded=Count("pk", filter=Q(status=Status.SUCCESS)),
        failed=Count("pk", filter=Q(status=Status.FAILED)),
        canceled=Count("pk", filter=Q(status=Status.CANCELED)),
        images=Sum(DELIVERED, default=0),
        credits=Sum("charged_credits", default=0),
    )
    return Use(**{name: days[name] + later[name] for name in names})


def parts(
    days: QuerySet[UsageDay], generations: QuerySet[Generation], since: date, until: date
) -> Iterator[tuple[Part, Use | UsageDay]]:
    """Yield the sums of the days that are summed up, and those of the generations that ended since."""
    last = last_summed_day()  # first: a day that is summed up while this runs counts once
    for row in days.filter(day__gte=since, day__lte=min(until, last)) if last else ():
        yield Part(row.day, row.api_key_id, row.model), row
    first = max(since, last + timedelta(days=1)) if last else since
    if first <= until:
        for (_, part), use in summed(generations.filter(**ended_on(first, until))).items():
            yield part, use


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
        .annotate(count=Count("pk"), images=Sum(DELIVERED), credits=Sum("charged_credits"))
        .order_by()
    )
    uses: defaultdict[tuple[int, Part], Use] = defaultdict(Use)
    for row in rows:
        use = Use(images=row["images"], credits=row["credits"])
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
            UsageDay(
                account_id=account_id,
                day=day,
                api_key_id=part.api_key_id,
                model=part.model,
                succeeded=use.succeeded,
                failed=use.failed,
                canceled=use.canceled,
                images=use.images,
                credits=use.credits,
                latencies=use.latencies,
            )
            for (account_id, part), use in uses.items()
        ],
        batch_size=1000,
    )
