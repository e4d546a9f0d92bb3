"""The entries of a wallet as people read them: by month, with what each is for, and what was spent a day."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from django.db.models import Count, QuerySet, Sum
from django.db.models.functions import TruncDate

from billing import ledger
from billing.models import Entry, Purchase

PAGE = 50
MOST_NEWER = 100_000  # entries that are summed to know the balance before them
GENERATION = "generation:"
WORDS = {
    Entry.Kind.GRANT: "Credits added",
    Entry.Kind.MONTH: "Plan credits",
    Entry.Kind.HOLD: "Set aside",
    Entry.Kind.CAPTURE: "Spent",
    Entry.Kind.RELEASE: "Given back",
    Entry.Kind.EXPIRE: "Expired",
    Entry.Kind.TAKE_BACK: "Taken back",
    Entry.Kind.REPAY: "Taken for what was owed",
}


@dataclass(frozen=True)
class Row:
    """One entry, for people."""

    entry: Entry
    what: str
    about: str  # what it is for
    url: str  # of that; empty: it has no page
    balance: int | None  # after it; none: too many came since


@dataclass(frozen=True)
class Month:
    """A calendar month, UTC."""

    year: int
    month: int

    @classmethod
    def parse(cls, text: str) -> "Month | None":
        """Return the month that `2026-11` names, or None for anything else."""
        try:
            at = datetime.strptime(text, "%Y-%m")
        except ValueError:
            return None
        return cls(at.year, at.month) if 2000 <= at.year < 3000 else None

    @property
    def start(self) -> datetime:
        return datetime(self.year, self.month, 1, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        return datetime(self.year + self.month // 12, self.month % 12 + 1, 1, tzinfo=UTC)

    def __str__(self) -> str:
        return f"{self.year}-{self.month:02}"

    @property
    def label(self) -> str:
        return self.start.strftime("%B %Y")


def months(user_id: int, now: datetime) -> list[Month]:
    """Return the months since the account's first entry, newest first."""
    first = Entry.objects.filter(wallet_id=user_id).order_by("id").values_list("created_at", flat=True).first()
    found, at = [Month(now.year, now.month)], now
    while first and (at.year, at.month) > (first.year, first.month):
        at = found[-1].start - timedelta(days=1)
        found.append(Month(at.year, at.month))
    return found


def entries(user_id: int, month: Month | None = None) -> QuerySet[Entry]:
    """Return the account's entries, newest first; those of a month lie between two ids, since the wallet was locked."""
    found = Entry.objects.filter(wallet_id=user_id).order_by("-id")
    if month is None:
        return found
    first, after = first_since(user_id, month.start), first_since(user_id, month.end)
    if first is None:
        return found.none()
    found = found.filter(id__gte=first)
    return found.filter(id__lt=after) if after else found


def first_since(user_id: int, at: datetime) -> int | None:
    """Return the id of the account's first entry from then on."""
    later = Entry.objects.filter(wallet_id=user_id, created_at__gte=at).order_by("created_at", "id")
    return later.values_list("id", flat=True).first()


def page(user_id: int, month: Month | None = None, before: int | None = None) -> tuple[list[Row], int | None]:
    """Return the rows that come before entry `before`, and where the next page begins, if there is one."""
    wanted = entries(user_id, month)
    if before:
        wanted = wanted.filter(id__lt=before)
    found = list(wanted[: PAGE + 1])
    return rows(user_id, found[:PAGE]), found[PAGE - 1].pk if len(found) > PAGE else None


def rows(user_id: int, found: list[Entry]) -> list[Row]:
    """Return the entries (newest first, with none of the account's left out) as rows."""
    if not found:
        return []
    balance = balance_after(found[0])
    bought = purchases_of(found)
    made = []
    for entry in found:
        about, url = describe(entry, bought)
        made.append(Row(entry, WORDS[Entry.Kind(entry.kind)], about, url, balance))
        if balance is not None:
            balance -= entry.credits
    return made


def balance_after(entry: Entry) -> int | None:
    """Return the account's balance right after an entry, or None where too many came since to add them up."""
    newer = Entry.objects.filter(wallet_id=entry.wallet_id, id__gt=entry.pk).order_by("id")[: MOST_NEWER + 1]
    moved = newer.aggregate(count=Count("pk"), credits=Sum("credits", default=0))
    return ledger.balance(entry.wallet_id) - moved["credits"] if moved["count"] <= MOST_NEWER else None


def purchases_of(found: Iterable[Entry]) -> dict[str, Purchase]:
    ids = {purchase_id(entry.cause) for entry in found} - {""}
    return {str(purchase.pk): purchase for purchase in Purchase.objects.filter(pk__in=ids)}


def purchase_id(cause: str) -> str:
    return cause.removeprefix(ledger.PURCHASE).partition("/")[0] if cause.startswith(ledger.PURCHASE) else ""


def describe(entry: Entry, bought: dict[str, Purchase]) -> tuple[str, str]:
    """Return what an entry is for, and the address of that."""
    if entry.cause.startswith(GENERATION):
        pk = entry.cause.removeprefix(GENERATION)
        return f"Generation {pk}", f"/history/{pk}/" if pk.isdecimal() else ""
    if purchase := bought.get(purchase_id(entry.cause)):
        return entry.note or purchase.get_kind_display(), f"/billing/purchases/{purchase.pk}/"
    return entry.note or entry.cause, ""


def spent_a_day(user_id: int, since: date, until: date) -> list[tuple[date, int]]:
    """Return the credits spent on each day (UTC), both ends included."""
    start = datetime(since.year, since.month, since.day, tzinfo=UTC)
    captures = Entry.objects.filter(
        wallet_id=user_id,
        kind=Entry.Kind.CAPTURE,
        created_at__gte=start,
        created_at__lt=start + timedelta(days=(until - since).days + 1),
    )
    by_day = captures.annotate(day=TruncDate("created_at", tzinfo=UTC)).values("day").annotate(sum=-Sum("held_credits"))
    spent = {row["day"]: row["sum"] for row in by_day.order_by("day")}
    days = [since + timedelta(days=k) for k in range((until - since).days + 1)]
    return [(day, spent.get(day, 0)) for day in days]
