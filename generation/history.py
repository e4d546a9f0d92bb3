"""Finds an account's generations: by filters, newest first, one page after another at the same cost however deep.

A page begins after the last row of the one before (its instant and id), so nothing is counted or skipped, and each
filter has an index that ends in that order (generation.models.HISTORY_INDEXES).
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from django.contrib.postgres.search import SearchQuery, SearchVectorField
from django.db import connection, transaction
from django.db.models import Func, Q, QuerySet, TextField
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast

from accounts.models import ApiKey, User
from generation.models import Generation

EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
PAGE_ROWS = 48
RECENT_ROWS = (500, 4500)  # looked through for words before the index of words is asked
PLANNING = {"enable_indexscan": "off", "enable_seqscan": "off", "work_mem": "64MB"}  # while the index of words is read
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
    found = newest_first(filtered(own(account), filters), after).select_related("api_key")
    generations = with_words(found, account, filters.words, rows + 1) if filters.words else list(found[: rows + 1])
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


def with_words(found: QuerySet[Generation], account: User, text: str, rows: int) -> list[Generation]:
    """Return the first of `found` in whose prompts every word of `text` begins a word.

    A common word is found among the newest rows and a rare one by the index of words; neither way alone is quick for
    both, and the database's planner can't tell them apart.
    """
    words = re.findall(r"\w+", text.lower())
    if not words:
        return list(found[:rows])
    beginnings = [re.compile(rf"\b{word}", re.IGNORECASE) for word in words]
    matches: list[int] = []
    seen = 0
    for some in RECENT_ROWS:
        prompts = list(found.values_list("pk", KeyTextTransform("prompt", "params"))[seen : seen + some])
        matches += [pk for pk, prompt in prompts if all(word.search(prompt) for word in beginnings)]
        seen += some
        if len(matches) >= rows or len(prompts) < some:
            return list(found.filter(pk__in=matches[:rows]))
    if connection.vendor == "postgresql":
        return by_index(found, account, words, rows)
    for word in words:  # SQLite: as good as a site on one machine needs
        found = found.filter(params__prompt__icontains=word)
    return list(found[:rows])


class Words(Func):
    """The words of a prompt, and one for its account: so that a search looks at no other account's.

    Signs are spaces, or PostgreSQL would take "cat/dog" for a path and "<cat>" for a tag.
    """

    template = (
        "to_tsvector('simple'::regconfig, translate('account' || %(expressions)s,"
        """ '!"#$%%%%&''()*+,-./:;<=>?@[\\]^`{|}~', repeat(' ', 31)))"""
    )
    arg_joiner = " || ' ' || "
    output_field = SearchVectorField()


WORDS = Words(Cast("account_id", TextField()), KeyTextTransform("prompt", "params"))  # exactly what the index holds


def by_index(found: QuerySet[Generation], account: User, words: list[str], rows: int) -> list[Generation]:
    query = " & ".join([f"account{account.pk}", *(f"{word}:*" for word in words)])
    matching = found.alias(words=WORDS).filter(words=SearchQuery(query, config="simple", search_type="raw"))
    with transaction.atomic(), connection.cursor() as cursor:
        # The planner has no idea how common words are together, and would rather walk the whole history.
        # And where the rows of a word don't fit, it keeps their pages only and reads every prompt on them again.
        cursor.execute("; ".join(f"SET LOCAL {name} = '{value}'" for name, value in PLANNING.items()))
        generations: list[Generation] = [*matching[:rows]]
        cursor.execute("; ".join(f"SET LOCAL {name} TO DEFAULT" for name in PLANNING))
    return generations


def models(account: User) -> list[str]:
    """Return the names of the models that made something for the account."""
    with connection.cursor() as cursor:
        cursor.execute(MODELS, {"account": account.pk, "most": MODELS_SHOWN})
        return [name for (name,) in cursor.fetchall()]


def keys(account: User) -> QuerySet[ApiKey]:
    return ApiKey.objects.filter(user=account).order_by("name", "id")
