"""billing.ledger: what a movement writes, and what it refuses."""

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import User
from billing import ledger
from billing.models import Entry, Wallet
from tests.conftest import Person

CAUSE = "generation:1"


def movements(person: Person) -> list[tuple[str, int, int]]:
    """Return kind, credits and held credits of the entries after the fixture's grant."""
    entries = Entry.objects.filter(wallet_id=person.user.pk).exclude(cause__startswith="test:").order_by("id")
    return list(entries.values_list("kind", "credits", "held_credits"))


def wallet(person: Person) -> tuple[int, int]:
    return Wallet.objects.values_list("balance", "held").get(user=person.user)


@pytest.fixture
def working(alice: Person) -> Person:
    """Alice, with 30 of her 1,000 credits held."""
    ledger.hold(alice.user.pk, 30, CAUSE)
    return alice


def test_a_new_account_gets_a_wallet_with_the_welcome_credits_once(db: None, settings: object) -> None:
    settings.WELCOME_CREDITS = 20  # type: ignore[attr-defined]

    user = User.objects.create_user("dora@example.org")
    user.save()
    ledger.open_wallet(user.pk, 20)

    assert ledger.balance(user.pk) == 20
    assert Entry.objects.get().cause == f"welcome:{user.pk}"


def test_a_new_account_without_welcome_credits_has_an_empty_wallet(bob: Person) -> None:
    assert wallet(bob) == (0, 0)
    assert movements(bob) == []


def test_a_grant_adds_credits_once_for_its_cause(bob: Person) -> None:
    assert ledger.grant(bob.user.pk, 50, "stripe:evt_1", "Thanks") is True
    assert ledger.grant(bob.user.pk, 50, "stripe:evt_1", "Thanks") is False

    assert wallet(bob) == (50, 0)
    assert movements(bob) == [("grant", 50, 0)]


@pytest.mark.parametrize("credits", [0, -1])
def test_a_grant_of_nothing_is_refused(bob: Person, credits: int) -> None:
    with pytest.raises(ValueError, match="at least one credit"):
        ledger.grant(bob.user.pk, credits, CAUSE)

    assert wallet(bob) == (0, 0)
    assert movements(bob) == []


def test_a_hold_sets_credits_aside(alice: Person) -> None:
    ledger.hold(alice.user.pk, 30, CAUSE)

    assert wallet(alice) == (970, 30)
    assert movements(alice) == [("hold", -30, 30)]


def test_a_hold_of_the_whole_balance_is_fine_and_of_one_credit_more_is_not(alice: Person) -> None:
    with pytest.raises(ledger.InsufficientCredits) as refusal, transaction.atomic():
        ledger.hold(alice.user.pk, 1001, CAUSE)

    assert (refusal.value.needed, refusal.value.available) == (1001, 1000)
    assert movements(alice) == []
    ledger.hold(alice.user.pk, 1000, CAUSE)
    assert wallet(alice) == (0, 1000)


@pytest.mark.parametrize(("credits", "constraint"), [(0, "entry_moves_the_right_way"), (-5, "held_never_negative")])
def test_a_hold_of_nothing_is_refused_by_the_database(alice: Person, credits: int, constraint: str) -> None:
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        ledger.hold(alice.user.pk, credits, CAUSE)

    assert wallet(alice) == (1000, 0)


def test_a_second_hold_for_a_cause_writes_nothing(working: Person) -> None:
    with pytest.raises(IntegrityError, match="one_entry_per_cause"), transaction.atomic():
        ledger.hold(working.user.pk, 30, CAUSE)

    assert wallet(working) == (970, 30)


@pytest.mark.parametrize(
    ("captured", "balance", "entries"),
    [
        (30, 970, [("capture", 0, -30)]),
        (10, 990, [("capture", 0, -10), ("release", 20, -20)]),
        (0, 1000, [("release", 30, -30)]),
    ],
)
def test_settling_captures_what_was_delivered_and_releases_the_rest(
    working: Person, captured: int, balance: int, entries: list[tuple[str, int, int]]
) -> None:
    ledger.settle(CAUSE, captured)

    assert wallet(working) == (balance, 0)
    assert movements(working) == [("hold", -30, 30), *entries]
    assert list(ledger.differences()) == []


@pytest.mark.parametrize("captured", [31, -1])
def test_settling_for_more_than_was_held_writes_nothing(working: Person, captured: int) -> None:
    with pytest.raises(ValueError, match="30 held credits"), transaction.atomic():
        ledger.settle(CAUSE, captured)

    assert wallet(working) == (970, 30)
    assert movements(working) == [("hold", -30, 30)]


@pytest.mark.parametrize(("first", "second"), [(30, 30), (0, 0), (30, 0), (0, 30), (10, 20)])
def test_settling_twice_writes_nothing_the_second_time(working: Person, first: int, second: int) -> None:
    ledger.hold(working.user.pk, 100, "generation:2")  # so that the wallet could pay for the mistake
    ledger.settle(CAUSE, first)
    before = wallet(working), movements(working)

    with pytest.raises(ValueError, match="settled before"), transaction.atomic():
        ledger.settle(CAUSE, second)

    assert (wallet(working), movements(working)) == before


def test_settling_what_was_never_held_writes_nothing(working: Person) -> None:
    before = wallet(working), movements(working)

    with pytest.raises(ValueError, match="Nothing was held for generation:9"), transaction.atomic():
        ledger.settle("generation:9", 0)

    assert (wallet(working), movements(working)) == before


def test_a_movement_is_undone_with_the_transaction_it_joins(alice: Person) -> None:
    with transaction.atomic():
        ledger.hold(alice.user.pk, 30, CAUSE)
        transaction.set_rollback(True)

    assert wallet(alice) == (1000, 0)
    assert movements(alice) == []


def test_an_entry_is_never_changed_and_never_deleted(alice: Person) -> None:
    entry = Entry.objects.get()
    entry.note = "forged"

    for change in (entry.save, lambda: Entry.objects.update(credits=9), lambda: Entry.objects.filter().update(note="")):
        with pytest.raises(TypeError, match="never changed"):
            change()
    for delete in (entry.delete, Entry.objects.all().delete, Entry.objects.filter(pk=entry.pk).delete):
        with pytest.raises(TypeError, match="never deleted"):
            delete()
    assert list(Entry.objects.values_list("credits", "note")) == [(1000, "")]


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [({"balance": -1}, "balance_never_negative"), ({"held": -1}, "held_never_negative")],
)
def test_the_database_refuses_a_wallet_below_zero(alice: Person, changes: dict[str, int], constraint: str) -> None:
    with pytest.raises(IntegrityError, match=constraint):
        Wallet.objects.filter(user=alice.user).update(**changes)


@pytest.mark.parametrize(
    ("kind", "credits", "held_credits"),
    [
        ("grant", 0, 0),
        ("grant", -1, 0),
        ("grant", 1, 1),
        ("hold", 1, -1),
        ("hold", -1, 2),
        ("capture", 1, -1),
        ("capture", 0, 0),
        ("capture", 0, 1),
        ("release", 0, 0),
        ("release", 1, 0),
        ("release", -1, 1),
        ("present", 1, 0),
    ],
)
def test_the_database_refuses_an_entry_that_moves_the_wrong_way(
    alice: Person, kind: str, credits: int, held_credits: int
) -> None:
    with pytest.raises(IntegrityError, match="entry_moves_the_right_way"):
        Entry.objects.create(
            wallet_id=alice.user.pk, kind=kind, credits=credits, held_credits=held_credits, cause=CAUSE
        )


def test_the_database_refuses_a_second_entry_for_a_cause(alice: Person) -> None:
    Entry.objects.create(wallet_id=alice.user.pk, kind="grant", credits=1, cause=CAUSE, created_at=timezone.now())

    with pytest.raises(IntegrityError, match="one_entry_per_cause"):
        Entry.objects.create(wallet_id=alice.user.pk, kind="grant", credits=2, cause=CAUSE)
