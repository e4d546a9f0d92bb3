"""manage.py check_ledger and manage.py grant"""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command, execute_from_command_line

from billing import ledger
from billing.models import Entry, Wallet
from tests.conftest import Person


def run(*args: str) -> str:
    out = StringIO()
    call_command(*args, stdout=out)
    return out.getvalue()


def test_check_ledger_is_content_with_every_kind_of_movement(alice: Person) -> None:
    for k, captured in enumerate([0, 5, 10]):
        ledger.hold(alice.user.pk, 10, f"generation:{k}")
        ledger.settle(f"generation:{k}", captured)
    ledger.hold(alice.user.pk, 10, "generation:running")

    assert run("check_ledger") == "1 wallets, 9 entries: all sums are right.\n"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"balance": 1001}, "balance 1001, held 0 and owed 0, but its entries say 1000, 0 and 0."),
        ({"held": 7}, "balance 1000, held 7 and owed 0, but its entries say 1000, 0 and 0."),
    ],
)
def test_check_ledger_exits_1_and_names_the_wallet_that_was_tampered_with(
    alice: Person, bob: Person, changes: dict[str, int], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Wallet.objects.filter(user=alice.user).update(**changes)

    with pytest.raises(SystemExit) as exit_:
        execute_from_command_line(["manage.py", "check_ledger"])

    assert exit_.value.code == 1
    assert capsys.readouterr().err == f"Wallet {alice.user.pk}: {words}\nCommandError: 1 differences.\n"


@pytest.mark.tampered_ledger
def test_check_ledger_names_a_hold_that_was_settled_wrongly(alice: Person) -> None:
    ledger.hold(alice.user.pk, 10, "generation:1")
    Entry.objects.create(wallet_id=alice.user.pk, kind="capture", credits=0, held_credits=-4, cause="generation:1")
    Wallet.objects.filter(user=alice.user).update(held=6)

    assert list(ledger.differences()) == ["Cause generation:1: 6 credits are still held though it was settled."]


def test_grant_gives_credits_whatever_the_case_of_the_address(bob: Person) -> None:
    assert run("grant", "BOB@example.org ", "50") == "Granted 50 credits; the balance is 50.\n"
    assert run("grant", "bob@example.org", "50", "--reason", "Sorry") == "Granted 50 credits; the balance is 100.\n"
    assert list(Entry.objects.order_by("id").values_list("note", flat=True)) == ["Granted by staff", "Sorry"]


def test_grant_with_a_cause_grants_once(bob: Person) -> None:
    run("grant", "bob@example.org", "50", "--cause", "june")

    assert run("grant", "bob@example.org", "50", "--cause", "june") == (
        "Nothing was done: grant:june had been granted before.\n"
    )
    assert bob.balance == 50


@pytest.mark.parametrize(
    ("email", "credits", "words"),
    [
        ("nobody@example.org", "5", "There is no account nobody@example.org."),
        ("bob@example.org", "0", "Credits must be a whole number from 1 to 1,000,000,000."),
        ("bob@example.org", "-5", "Credits must be a whole number from 1 to 1,000,000,000."),
        ("bob@example.org", "1000000001", "Credits must be a whole number from 1 to 1,000,000,000."),
    ],
)
def test_grant_says_what_is_wrong(bob: Person, email: str, credits: str, words: str) -> None:
    with pytest.raises(CommandError, match=words):
        call_command("grant", email, "--", credits)

    assert not Entry.objects.exists()


@pytest.mark.parametrize("option", ["--cause", "--reason"])
def test_grant_takes_no_more_words_than_the_ledger_keeps(bob: Person, option: str) -> None:
    with pytest.raises(CommandError, match=r"A cause and a reason may have at most 190 characters\."):
        call_command("grant", "bob@example.org", "5", option, 191 * "x")
    assert not Entry.objects.exists()

    call_command("grant", "bob@example.org", "5", option, 190 * "x")
    assert bob.balance == 5
