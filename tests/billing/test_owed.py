"""billing.ledger: credits that are taken back, owed and repaid, and those that expire."""

from itertools import permutations

import pytest
from django.db import IntegrityError

from billing import ledger
from billing.models import Entry, Wallet
from tests.conftest import Person
from tests.racing import race


def wallet(person: Person) -> tuple[int, int, int]:
    return Wallet.objects.values_list("balance", "held", "owed").get(user=person.user)


def movements(person: Person) -> list[tuple[str, int, int, int]]:
    """Return kind, and change of balance, held and owed, of the entries after the fixture's grant."""
    entries = Entry.objects.filter(wallet_id=person.user.pk).exclude(cause__startswith="test:").order_by("id")
    return list(entries.values_list("kind", "credits", "held_credits", "owed_credits"))


@pytest.mark.parametrize(
    ("credits", "after", "entry"),
    [
        (400, (600, 0, 0), ("take_back", -400, 0, 0)),
        (1000, (0, 0, 0), ("take_back", -1000, 0, 0)),
        (1300, (0, 0, 300), ("take_back", -1000, 0, 300)),
    ],
)
def test_taking_back_empties_the_balance_and_the_rest_is_owed(
    alice: Person, credits: int, after: tuple[int, int, int], entry: tuple[str, int, int, int]
) -> None:
    assert ledger.take_back(alice.user.pk, credits, "refund:1/1") is True
    assert ledger.take_back(alice.user.pk, credits, "refund:1/1") is False

    assert wallet(alice) == after
    assert movements(alice) == [entry]
    assert list(ledger.differences()) == []


@pytest.mark.parametrize("credits", [0, -1])
def test_taking_back_nothing_is_refused(alice: Person, credits: int) -> None:
    with pytest.raises(ValueError, match="At least one credit"):
        ledger.take_back(alice.user.pk, credits, "refund:1/1")

    assert movements(alice) == []


@pytest.mark.parametrize(
    ("granted", "after", "repaid"), [(50, (0, 0, 20), 50), (70, (0, 0, 0), 70), (100, (30, 0, 0), 70)]
)
def test_what_comes_in_pays_what_is_owed_first(
    bob: Person, granted: int, after: tuple[int, int, int], repaid: int
) -> None:
    ledger.take_back(bob.user.pk, 70, "refund:1/1")

    ledger.grant(bob.user.pk, granted, "refund:2")

    assert wallet(bob) == after
    assert movements(bob)[1:] == [("grant", granted, 0, 0), ("repay", -repaid, 0, -repaid)]
    assert list(ledger.differences()) == []


def test_credits_that_come_back_from_a_hold_pay_what_is_owed_too(alice: Person) -> None:
    ledger.hold(alice.user.pk, 1000, "generation:1")
    ledger.take_back(alice.user.pk, 600, "refund:1/1")
    assert wallet(alice) == (0, 1000, 600)

    ledger.settle("generation:1", 300)

    assert wallet(alice) == (100, 0, 0)
    assert movements(alice)[2:] == [
        ("capture", 0, -300, 0),
        ("release", 700, -700, 0),
        ("repay", -600, 0, -600),
    ]
    assert list(ledger.differences()) == []


def test_who_owes_can_not_spend(bob: Person) -> None:
    ledger.take_back(bob.user.pk, 70, "refund:1/1")

    with pytest.raises(ledger.InsufficientCredits):
        ledger.hold(bob.user.pk, 1, "generation:1")


def test_the_order_of_payments_and_refunds_does_not_matter(db: None, person: object) -> None:
    steps = [("grant", 100), ("grant", 50), ("take_back", 120), ("take_back", 20)]

    for k, order in enumerate(permutations(steps)):
        somebody = person(f"p{k}")  # type: ignore[operator]
        for n, (step, credits) in enumerate(order):
            getattr(ledger, step)(somebody.user.pk, credits, f"refund:{k}/{n}")
        assert wallet(somebody) == (10, 0, 0)


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"owed": -1}, "owed_never_negative"),
        ({"owed": 1}, "owes_only_with_an_empty_balance"),
        ({"monthly": -1}, "monthly_never_negative"),
    ],
)
def test_the_database_refuses_a_wallet_that_can_not_be(alice: Person, changes: dict[str, int], constraint: str) -> None:
    with pytest.raises(IntegrityError, match=constraint):
        Wallet.objects.filter(user=alice.user).update(**changes)


@pytest.mark.parametrize(
    ("kind", "credits", "held_credits", "owed_credits"),
    [
        ("grant", 1, 0, 1),
        ("month", 0, 0, 0),
        ("month", 1, 0, -1),
        ("hold", -1, 1, 1),
        ("capture", 0, -1, 1),
        ("release", 1, -1, -1),
        ("expire", 1, 0, 0),
        ("expire", -1, 0, 1),
        ("take_back", 0, 0, 0),
        ("take_back", 1, 0, 1),
        ("take_back", -1, 0, -1),
        ("take_back", -1, 1, 0),
        ("repay", -1, 0, 0),
        ("repay", 1, 0, 1),
        ("repay", -2, 0, -1),
    ],
)
def test_the_database_refuses_an_entry_that_moves_the_wrong_way(
    alice: Person, kind: str, credits: int, held_credits: int, owed_credits: int
) -> None:
    with pytest.raises(IntegrityError, match="entry_moves_the_right_way"):
        Entry.objects.create(
            wallet_id=alice.user.pk,
            kind=kind,
            credits=credits,
            held_credits=held_credits,
            owed_credits=owed_credits,
            cause="refund:1",
        )


@pytest.mark.django_db(transaction=True)
def test_16_threads_take_back_the_same_refund_once_while_others_spend(alice: Person) -> None:
    def work(k: int) -> bool:
        if k % 2:
            return ledger.take_back(alice.user.pk, 600, "refund:1/1")
        ledger.hold(alice.user.pk, 10, f"generation:{k}")
        ledger.settle(f"generation:{k}", 5)
        return False

    outcomes = race(16, work)

    assert sorted(outcomes) == [False] * 15 + [True]
    assert wallet(alice) == (1000 - 600 - 8 * 5, 0, 0)
    assert list(ledger.differences()) == []


def test_plan_credits_expire_above_the_most_that_may_be_kept(bob: Person) -> None:
    ledger.grant(bob.user.pk, 30, "refund:1")
    for k in range(3):
        assert ledger.grant_month(bob.user.pk, 100, f"refund:m{k}", most_monthly_credits=200)
        assert not ledger.grant_month(bob.user.pk, 100, f"refund:m{k}", most_monthly_credits=200)

    assert wallet(bob) == (230, 0, 0)
    assert movements(bob)[-2:] == [("month", 100, 0, 0), ("expire", -100, 0, 0)]


def test_a_month_of_nothing_is_refused(bob: Person) -> None:
    with pytest.raises(ValueError, match="at least one credit"):
        ledger.grant_month(bob.user.pk, 0, "refund:m", most_monthly_credits=0)
