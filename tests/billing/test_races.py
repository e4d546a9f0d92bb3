"""Many threads on one wallet, on PostgreSQL."""

import pytest

from billing import ledger
from billing.models import Entry, Wallet
from tests.conftest import Person
from tests.racing import race

pytestmark = pytest.mark.django_db(transaction=True)


def test_64_threads_never_spend_more_than_the_wallet_holds(bob: Person) -> None:
    ledger.grant(bob.user.pk, 20, "test:bob")

    outcomes = race(64, lambda k: ledger.hold(bob.user.pk, 1, f"generation:{k}"))

    wins = [outcome for outcome in outcomes if outcome is None]
    refusals = [outcome for outcome in outcomes if isinstance(outcome, ledger.InsufficientCredits)]
    assert (len(wins), len(refusals)) == (20, 44)
    assert Wallet.objects.values_list("balance", "held").get(user=bob.user) == (0, 20)
    assert Entry.objects.filter(kind="hold").count() == 20
    assert list(ledger.differences()) == []


def test_16_threads_grant_the_same_cause_once(bob: Person) -> None:
    outcomes = race(16, lambda k: ledger.grant(bob.user.pk, 10, "stripe:evt_1"))

    assert sorted(outcomes) == [False] * 15 + [True]
    assert bob.balance == 10
    assert list(ledger.differences()) == []


def test_16_threads_settle_the_same_hold_once(alice: Person) -> None:
    ledger.hold(alice.user.pk, 30, "generation:1")
    ledger.hold(alice.user.pk, 900, "generation:2")  # so that the wallet could pay for the mistake

    outcomes = race(16, lambda k: ledger.settle("generation:1", 30 * (k % 2)))

    assert outcomes.count(None) == 1
    assert sum(isinstance(outcome, ValueError) for outcome in outcomes) == 15
    assert Wallet.objects.get(user=alice.user).held == 900
    assert list(ledger.differences()) == []


def test_granting_holding_and_settling_at_once_neither_blocks_nor_loses_a_credit(alice: Person, bob: Person) -> None:
    people = [alice, bob]
    ledger.grant(bob.user.pk, 1000, "test:bob")

    def spend(k: int) -> None:
        user_id = people[k % 2].user.pk
        for n in range(10):
            cause = f"generation:{k}-{n}"
            ledger.grant(user_id, 2, f"grant:{k % 8}-{n}")  # two threads share a cause
            ledger.hold(user_id, 3, cause)
            ledger.settle(cause, n % 4)

    assert race(16, spend) == [None] * 16
    captured = sum(-entry.held_credits for entry in Entry.objects.filter(kind="capture"))
    granted = sum(entry.credits for entry in Entry.objects.filter(kind="grant"))
    assert captured == 16 * (0 + 1 + 2 + 3 + 0 + 1 + 2 + 3 + 0 + 1)
    assert alice.balance + bob.balance == granted - captured
    assert list(ledger.differences()) == []
