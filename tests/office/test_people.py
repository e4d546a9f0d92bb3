"""One person on one page of the admin, and what staff may do there."""

import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.authentication import InvalidKey, authenticate
from accounts.models import ApiKey, Plan, User
from billing import ledger
from billing.models import Entry, Wallet
from generation import services
from generation.models import Generation
from generation.params import Inputs, Params
from tests.conftest import Api, Person

Address = Callable[..., str]


def credits_form(credits: object, reason: str = "Sorry for the wait") -> dict[str, object]:
    return {"credits": credits, "reason": reason, "token": uuid.uuid4()}


def log_of(user: User) -> list[dict[str, list[str]]]:
    """Return what the audit log says of an account, oldest first, of the actions on this page."""
    return [entry.changes_dict for entry in LogEntry.objects.get_for_object(user).order_by("id") if entry.action == 1]


def test_staff_see_everything_of_a_person_on_one_page(staff: Client, alice: Person, address: Address) -> None:
    alice.user.plan = Plan.objects.create(name="Studio", images_per_month=500)
    alice.user.save()
    params = Params(mode="text2img", prompt="a heron in the reeds", seed=1)
    generation = services.submit(alice.user, params, Inputs(), api_key=alice.api_key)

    page = staff.get(address(alice)).content.decode()

    for words in ("a heron in the reeds", f"generation:{generation.pk}", alice.key[-4:], "Studio", "of 500"):
        assert words in page
    assert f"<dd>{alice.balance}</dd>" in page
    assert alice.key not in page
    assert alice.api_key.digest not in page


def test_from_there_a_link_leads_to_all_entries_of_the_account_alone(
    staff: Client, alice: Person, bob: Person, address: Address
) -> None:
    ledger.grant(bob.user.pk, 5, "test:bob", "for bob")
    page = staff.get(address(alice)).content.decode()

    [link] = re.findall(r'href="(/admin/billing/entry/\?[^"]*)"', page)
    with CaptureQueriesContext(connection) as asked:
        shown = staff.get(link)

    assert [entry.cause for entry in shown.context["cl"].result_list] == ["test:alice"]
    entries = [query["sql"] for query in asked.captured_queries if 'FROM "billing_entry"' in query["sql"]]
    assert all(f'"billing_entry"."wallet_id" = {alice.user.pk}' in sql and "JOIN" not in sql for sql in entries)


def test_entries_are_found_by_their_whole_cause(staff: Client, alice: Person) -> None:
    ledger.grant(alice.user.pk, 5, "test:alice:2")

    with CaptureQueriesContext(connection) as asked:
        [shown, part, case] = [
            [entry.credits for entry in staff.get(f"/admin/billing/entry/?q={q}").context["cl"].result_list]
            for q in ("test:alice", "test", "TEST:ALICE")
        ]

    assert (shown, part, case) == ([1000], [], [])
    assert not any("LIKE" in query["sql"] or "UPPER" in query["sql"] for query in asked.captured_queries)


def test_staff_give_credits_with_a_reason_that_stays(
    staff: Client, bob: Person, charlie: Person, address: Address
) -> None:
    staff.post(address(bob, "credits"), credits_form(250))

    entry = Entry.objects.get()
    assert (bob.balance, entry.kind, entry.credits, entry.note) == (250, "grant", 250, "Sorry for the wait")
    [change] = log_of(bob.user)
    assert change == {"balance": ["0", "250"], "credits": ["–", "+250: Sorry for the wait"]}
    assert LogEntry.objects.get_for_object(bob.user).first().actor == charlie.user


def test_a_form_that_is_sent_twice_moves_credits_once(staff: Client, bob: Person, address: Address) -> None:
    form = credits_form(250)

    pages = [staff.post(address(bob, "credits"), form, follow=True).content.decode() for _ in range(2)]

    assert bob.balance == 250
    assert "This form was sent before; nothing more was moved." in pages[1]
    assert len(log_of(bob.user)) == 1


def test_credits_that_are_taken_and_not_there_are_owed(staff: Client, alice: Person, address: Address) -> None:
    staff.post(address(alice, "credits"), credits_form(-1200, "Paid with a stolen card"))

    wallet = Wallet.objects.get(user=alice.user)
    assert (wallet.balance, wallet.owed) == (0, 200)


@pytest.mark.parametrize("wrong", [{"credits": 0}, {"credits": "many"}, {"reason": ""}, {"reason": "x" * 201}])
def test_a_wrong_form_moves_nothing(staff: Client, bob: Person, address: Address, wrong: dict[str, object]) -> None:
    reply = staff.post(address(bob, "credits"), credits_form(5) | wrong)

    assert reply.status_code == 400
    assert not Entry.objects.exists()


def test_a_suspended_account_is_told_why_and_loses_nothing(
    staff: Client, alice: Person, api: Api, settings: Any, address: Address
) -> None:
    settings.SUPPORT_EMAIL = "help@example.org"
    made = services.submit(alice.user, Params(mode="text2img", prompt="a cat", seed=1), Inputs())
    balance = alice.balance

    staff.post(address(alice, "suspend"), {"reason": "Chargebacks."})
    refused = api.post("text2img", {"key": alice.key, "prompt": "a dog"})
    fetched = api.post(f"fetch/{made.pk}", {"key": alice.key})

    assert refused.json() == {
        "status": "error",
        "message": "Your account is suspended: Chargebacks.",
        "tip": "Images and credits stay as they are. Write to help@example.org.",
    }
    assert fetched.json()["status"] == "processing"
    assert alice.balance == balance

    staff.post(address(alice, "reinstate"))
    assert not User.objects.get(pk=alice.user.pk).suspended_at
    assert [list(change) for change in log_of(alice.user)] == [["suspended_at", "suspension_reason"]] * 2


def test_a_suspension_needs_a_reason(staff: Client, alice: Person, address: Address) -> None:
    assert staff.post(address(alice, "suspend"), {"reason": " "}).status_code == 400
    assert User.objects.get(pk=alice.user.pk).suspended_at is None


def test_a_suspended_account_sees_it_on_every_page(alice: Person, staff: Client, address: Address) -> None:
    staff.post(address(alice, "suspend"), {"reason": "Chargebacks."})
    client = Client()
    client.force_login(alice.user)

    assert "This account is suspended: Chargebacks." in client.get("/billing/").content.decode()


def test_all_keys_of_an_account_are_revoked_at_once(staff: Client, alice: Person, address: Address) -> None:
    second, secret = ApiKey.create(alice.user, "second")

    staff.post(address(alice, "revoke_keys"))

    for key in (alice.key, secret):
        with pytest.raises(InvalidKey):
            authenticate(key)
    [entry] = LogEntry.objects.get_for_object(second).filter(action=LogEntry.Action.UPDATE)
    assert entry.changes_dict == {"revoked": ["no", "yes"]}


@pytest.mark.parametrize("what", ["credits", "suspend", "reinstate", "revoke_keys"])
def test_only_staff_with_the_right_may(
    clerk: Callable[..., Client], alice: Person, address: Address, what: str
) -> None:
    assert clerk("accounts.view_user").post(address(alice, what), credits_form(5)).status_code == 403
    assert alice.balance == 1000
    assert authenticate(alice.key)
    assert User.objects.get(pk=alice.user.pk).suspended_at is None


def test_with_the_right_to_change_accounts_a_clerk_suspends_and_revokes_and_moves_no_credits(
    clerk: Callable[..., Client], alice: Person, address: Address
) -> None:
    client = clerk("accounts.change_user")

    statuses = [client.post(address(alice, what), credits_form(5)).status_code for what in ("suspend", "revoke_keys")]

    assert statuses == [302, 302]
    assert User.objects.get(pk=alice.user.pk).suspension_reason == "Sorry for the wait"
    with pytest.raises(InvalidKey):
        authenticate(alice.key)
    assert client.post(address(alice, "credits"), credits_form(5)).status_code == 403
    assert alice.balance == 1000


@pytest.mark.parametrize("what", ["credits", "suspend", "reinstate", "revoke_keys"])
def test_customers_are_sent_to_the_login(bob: Person, alice: Person, address: Address, what: str) -> None:
    client = Client()
    client.force_login(bob.user)

    assert client.post(address(alice, what), credits_form(5)).status_code == 302
    assert alice.balance == 1000


@pytest.mark.parametrize("what", ["reinstate", "revoke_keys"])
def test_looking_changes_nothing(staff: Client, alice: Person, address: Address, what: str) -> None:
    assert staff.get(address(alice, what)).status_code == 405
    assert authenticate(alice.key)


@pytest.mark.parametrize(("real_codes", "status"), [(False, 200), (True, 403)])
def test_the_refusal_has_its_true_code_where_codes_are_true(
    staff: Client, alice: Person, api: Api, settings: Any, address: Address, real_codes: bool, status: int
) -> None:
    settings.V3_REAL_STATUS_CODES = real_codes
    staff.post(address(alice, "suspend"), {"reason": "Chargebacks."})

    assert api.post("text2img", {"key": alice.key, "prompt": "a dog"}).status_code == status
    assert not Generation.objects.exists()


def test_the_list_shows_credits_and_who_is_suspended(staff: Client, alice: Person, address: Address) -> None:
    staff.post(address(alice, "suspend"), {"reason": "Chargebacks."})

    page = staff.get("/admin/accounts/user/?suspended_at__isempty=0").content.decode()

    assert "alice@example.org" in page
    assert "1,000" in page
    assert "charlie@example.org</a>" not in page
