"""Finds an account's generations: by filters, newest first, one page after another at the same cost however deep.

A page begins after the last row of the one before (its instant and id), so nothing is counted or skipped, and each
filter has an index that ends in that order (generation.models.HISTORY_INDEXES).
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from django.db import connection, transaction
from django.db.models import BooleanField, Q, QuerySet
from django.db.models.expressions import RawSQL
from django.db.models.fields.json import KeyTextTransform

from accounts.models import ApiKey, User
from generation.models import Generation

EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
PAGE_ROWS = 48
RECENT_ROWS = 500  # looked through for words before the index of words is asked
MODELS_SHOWN = 50
# The next name after each, by steps along an index: there are few names among a great many rows.
NEXT_MODEL = """
    SELECT model FROM generation_generation
    WHERE account_id = %(account)s AND deleted_at IS NULL AND model > {after} ORDER BY model LIMIT 1
"""
MODELS = f"""
    WITH RECURSIVE names (name) AS (
        SELECT ({NEXT_MODEL.format(after="''")})
        UNION ALL
        SELECT ({NEXT_MODEL.format(after="names.name")}) FROM names WHERE names.name IS NOT NULL
    )
    SELECT name FROM names WHERE name IS NOT NULL LIMIT %(most)s
"""  # noqa: S608  (no value is put in)
DAY = "(({instant} AT TIME ZONE 'UTC')::date - DATE '1970-01-01')::text"  # in UTC, since 1970
# Exactly what the index of words holds: the words of a prompt, each behind its account and day, as in "a7d20421wcat".
# Signs become spaces, or PostgreSQL would take "cat/dog" for a path and "<cat>" for a tag.
WORDS = f"""
    to_tsvector('simple'::regconfig, replace(
        ' ' || strip(to_tsvector('simple'::regconfig, translate(
            params ->> 'prompt', '!"#$%%&''()*+,-./:;<=>?@[\\]^_`{{|}}~', repeat(' ', 32))))::text,
        ' ''',
        ' a' || account_id::text || 'd' || {DAY.format(instant="created_at")} || 'w'))
"""
WORDS_OF_DAY = f"replace(%s, 'DAY', {DAY.format(instant='days.newest')})::tsquery"
# From one day on which the account asked for anything back to the one before it, until there are enough.
DAYS = """
    WITH RECURSIVE days (newest, ids, found) AS (
        SELECT ({newest_until}), ARRAY[]::bigint[], 0
        UNION ALL
        SELECT ({newest_before}), of_day.ids, days.found + cardinality(of_day.ids)
        FROM days CROSS JOIN LATERAL (SELECT ARRAY({matching}) AS ids) AS of_day
        WHERE days.newest >= %s AND days.found < %s
    )
    SELECT unnest(ids) FROM days
"""
NEWEST = """
    SELECT max(created_at) FROM generation_generation WHERE account_id = %s AND deleted_at IS NULL AND created_at
"""
PLANNING = ("enable_seqscan", "jit")  # off while the index of words is asked


@dataclass(frozen=True)
class Filters:
    """What to show of the history; empty values show everything."""

    status: str = ""
    mode: str = ""
    model: str = ""
    api_key: str = ""  # its id, or "pages" for what was made without a key
    words: str = ""  # each begins a word of the prompt
    since: date | None = None  # UTC, both included
    until: date | None = None
    blanked: bool = False  # only those with an image that the safety checker replaced

    def __bool__(self) -> bool:
        return self != Filters()


@dataclass(frozen=True)
class Cursor:
    """Where a page begins: after this row."""

    created_at: datetime
    pk: int

    def __str__(self) -> str:
        return f"{(self.created_at - EPOCH) // MICROSECOND}_{self.pk}"

    @classmethod
    def read(cls, text: str) -> "Cursor | None":
        """Return the cursor that `text` spells, or None."""
        match = re.fullmatch(r"([0-9]{1,17})_([0-9]{1,18})", text)
        return cls(EPOCH + int(match[1]) * MICROSECOND, int(match[2])) if match else None


@dataclass(frozen=True)
class Page:
    """Some generations, and where the next ones begin."""

    generations: list[Generation]
    after: Cursor | None


def own(account: User) -> QuerySet[Generation]:
    """Return what the account may see: its generations that it did not delete."""
    return Generation.objects.filter(account=account, deleted_at=None)


def page(account: User, filters: Filters, after: Cursor | None = None, rows: int = PAGE_ROWS) -> Page:
    """Return the newest generations that pass the filters and are older than `after`."""
    found = newest_first(filtered(own(account), filters), after)
    if filters.words:
        found = with_words(found, account, filters, after, rows + 1)
    generations = list(found.select_related("api_key")[: rows + 1])
    last = generations[rows - 1] if len(generations) > rows else None
    return Page(generations[:rows], Cursor(last.created_at, last.pk) if last else None)


def filtered(generations: QuerySet[Generation], filters: Filters) -> QuerySet[Generation]:
    """Return those that pass all filters but the words."""
    exact = {name: value for name in ("status", "mode", "model") if (value := getattr(filters, name))}
    generations = generations.filter(**exact)
    if filters.api_key:
        generations = generations.filter(api_key_id=None if filters.api_key == "pages" else int(filters.api_key))
    if filters.since:
        generations = generations.filter(created_at__gte=datetime.combine(filters.since, time.min, UTC))
    if filters.until:
        generations = generations.filter(created_at__lte=datetime.combine(filters.until, time.max, UTC))
    if filters.blanked:
        generations = generations.filter(blanked_images__gt=0)
    return generations


def newest_first(generations: QuerySet[Generation], after: Cursor | None) -> QuerySet[Generation]:
    if after:
        # The first condition is the one that an index can begin at.
        generations = generations.filter(
            Q(created_at__lt=after.created_at) | Q(pk__lt=after.pk), created_at__lte=after.created_at
        )
    return generations.order_by("-created_at", "-id")


def with_words(
    found: QuerySet[Generation], account: User, filters: Filters, after: Cursor | None, rows: int
) -> QuerySet[Generation]:
    """Return the first of `found`, at least so many, in whose prompts every word of the filter begins a word.

    Common words are found among the newest generations; whatever else by the index of words.
    """
    words = re.findall(r"[^\W_]+", filters.words.lower())
    if not words:
        return found
    beginnings = [rf"(?<![^\W_]){word}" for word in words]
    if connection.vendor != "postgresql":  # SQLite looks at one after another: as good as a site on one machine needs
        return found.filter(*(Q(params__prompt__iregex=beginning) for beginning in beginnings))
    newest = list(found.values_list("pk", KeyTextTransform("prompt", "params"))[:RECENT_ROWS])
    matches = [pk for pk, prompt in newest if all(re.search(word, prompt, re.IGNORECASE) for word in beginnings)]
    if len(matches) < rows and len(newest) == RECENT_ROWS:
        matches = by_index(account, words, filters, after, rows)
    return found.filter(pk__in=matches)


def by_index(account: User, words: list[str], filters: Filters, after: Cursor | None, rows: int) -> list[int]:
    """Return the ids of the newest generations with all words, which the index of words has day by day.

    A search looks at no other account's words there, and at no day older than it needs, however many there are.
    """
    first, last = span(filters, after)
    wanted = " & ".join(f"'a{account.pk}dDAYw{word}':*" for word in words)
    has_words = RawSQL(f"{WORDS} @@ {WORDS_OF_DAY}", [wanted], BooleanField())  # noqa: S611  (no value is put in)
    # The words tell the account: naming it too would lead the planner to other indexes.
    of_day = newest_first(filtered(Generation.objects.filter(has_words, deleted_at=None), filters), after)
    matching, arguments = of_day.values("pk")[:rows].query.sql_with_params()
    days = DAYS.format(
        newest_until=f"{NEWEST} <= %s",
        newest_before=f"{NEWEST} < date_trunc('day', days.newest, 'UTC')",
        matching=matching,
    )
    with transaction.atomic(), connection.cursor() as cursor:
        # The planner has no idea how common words are together, and would rather read everything.
        cursor.execute("; ".join(f"SET LOCAL {name} = off" for name in PLANNING))
        cursor.execute(days, [account.pk, last, account.pk, *arguments, first, rows])
        found = [pk for (pk,) in cursor.fetchall()]
        cursor.execute("; ".join(f"SET LOCAL {name} TO DEFAULT" for name in PLANNING))
    return found


def span(filters: Filters, after: Cursor | None) -> tuple[datetime, datetime]:
    """Return the instants between which the filters and the page's place let generations be."""
    first = datetime.combine(filters.since or date.min, time.min, UTC)
    last = datetime.combine(filters.until or date.max, time.max, UTC)
    return first, min(last, after.created_at) if after else last


def models(account: User) -> list[str]:
    """Return the names of the models that made something for the account."""
    with connection.cursor() as cursor:
        cursor.execute(MODELS, {"account": account.pk, "most": MODELS_SHOWN})
        return [name for (name,) in cursor.fetchall()]


def keys(account: User) -> QuerySet[ApiKey]:
    return ApiKey.objects.filter(user=account).order_by("name", "id")
