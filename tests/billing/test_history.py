"""billing.history: entries by month, the balances beside them, and what they cost to find."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing import history, ledger
from billing.history import Month
from billing.models import Entry
from tests.conftest import Person

Move = Callable[..., Entry]
JANUARY, FEBRUARY, MARCH, APRIL = (Month(2026, month) for month in (1, 2, 3, 4))


@pytest.fixture
def move(bob: Person) -> Move:
    """Return a function that moves a credit at some time."""

    def at(moment: datetime, person: Person = bob) -> Entry:
        ledger.grant(person.user.pk, 1, f"test:{moment.isoformat()}:{person.user.pk}")
        entry = Entry.objects.latest("id")
        with connection.cursor() as cursor:
            cursor.execute("UPDATE billing_entry SET created_at = %s WHERE id = %s", [moment, entry.pk])
        entry.created_at = moment
        return entry

    return at


def test_each_entry_is_in_the_month_of_its_time(move: Move, bob: Person, alice: Person) -> None:
    instant = timedelta(microseconds=1)
    old, first = move(JANUARY.start - instant), move(JANUARY.start)
    last = move(FEBRUARY.start - instant)
    move(JANUARY.start, alice)
    next_but_one = move(MARCH.start)

    def found(month: Month | None) -> list[Entry]:
        return list(history.entries(bob.user.pk, month))

    assert found(JANUARY) == [last, first]
    assert [found(Month(2025, 12)), found(FEBRUARY), found(MARCH), found(APRIL)] == [[old], [], [next_but_one], []]
    assert found(None) == [next_but_one, last, first, old]


def test_pages_of_a_month_show_the_balances_of_then(move: Move, bob: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "PAGE", 2)
    for k in range(3):
        move(JANUARY.start + timedelta(days=k))
    move(FEBRUARY.start)

    rows, before = history.page(bob.user.pk, JANUARY)
    rest, end = history.page(bob.user.pk, JANUARY, before)

    assert [row.balance for row in rows + rest] == [3, 2, 1]
    assert end is None


@pytest.mark.parametrize(("most", "balances"), [(2, [2, 1]), (1, [None, None])])
def test_a_balance_that_too_many_entries_follow_is_not_worked_out(
    move: Move, bob: Person, monkeypatch: pytest.MonkeyPatch, most: int, balances: list[int | None]
) -> None:
    monkeypatch.setattr(history, "MOST_NEWER", most)
    for k in range(4):
        move(JANUARY.start + k * timedelta(days=20))

    rows, _ = history.page(bob.user.pk, JANUARY)

    assert [row.balance for row in rows] == balances


def test_what_was_spent_is_told_by_the_day(bob: Person) -> None:
    ledger.grant(bob.user.pk, 50, "test:grant")
    for k, credits in enumerate((7, 0, 5)):
        ledger.hold(bob.user.pk, 10, f"generation:{k}")
        ledger.settle(f"generation:{k}", credits)
    today = datetime.now(UTC).date()
    yesterday = today - timedelta(days=1)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE billing_entry SET created_at = %s WHERE cause = 'generation:0'", [noon(yesterday)])

    assert history.spent_a_day(bob.user.pk, yesterday, today) == [(yesterday, 7), (today, 5)]


def noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="the names of its plans")
def test_neither_a_month_nor_what_was_spent_is_looked_for_in_all_entries(bob: Person) -> None:
    with CaptureQueriesContext(connection) as asked:
        history.first_since(bob.user.pk, JANUARY.start)
        history.spent_a_day(bob.user.pk, date(2026, 1, 1), date(2026, 1, 31))

    with connection.cursor() as cursor:  # with so few rows PostgreSQL would rather look at each
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        first, spent = [str(cursor.execute(f"EXPLAIN {query['sql']}").fetchall()) for query in asked.captured_queries]

    assert "Index Scan using entries_of_a_time" in first
    assert "Index Only Scan using entries_of_a_time" in spent
