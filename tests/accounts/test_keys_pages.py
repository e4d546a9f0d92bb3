"""GET and POST /keys/…"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import forms, keys, quotas
from accounts.authentication import InvalidKey, authenticate
from accounts.models import ApiKey, KeySpending, Scope
from tests.conftest import Person

HTMX = {"HX-Request": "true"}
PLAIN = {"name": "shop", "scope": "generate", "spending_cap_credits": "", "expires_on": "", "allowed_addresses": ""}


def secrets_in(reply: Any) -> list[str]:
    return sorted(set(re.findall(r"sk_[\w-]{43}", reply.content.decode())))


def of(person: Person) -> str:
    return f"/keys/{person.api_key.pk}/"


# The list


def test_it_lists_keys_with_what_they_are_good_for(alice: Person, browser: Any) -> None:
    key, secret = ApiKey.create(alice.user, "shop & co", scope=Scope.READ, spending_cap_credits=1500)
    ApiKey.objects.filter(pk=key.pk).update(allowed_addresses=["10.0.0.0/8"])
    period = quotas.month(quotas.local_day(alice.user, timezone.now()))
    KeySpending.objects.create(api_key=key, period=period, count=1234)

    page = browser(alice).get("/keys/")
    text = page.content.decode()

    for words in ("shop &amp; co", f"sk_…{secret[-4:]}", "only reads", "1,234 of 1,500", "10.0.0.0/8"):
        assert words in text
    assert secrets_in(page) == []


def test_an_account_without_keys_is_told_what_to_do(alice: Person, browser: Any) -> None:
    alice.api_key.delete()

    page = browser(alice).get("/keys/").content.decode()

    assert "No keys yet" in page
    assert 'href="/keys/new/"' in page


def test_keys_that_are_over_stand_apart(alice: Person, browser: Any) -> None:
    expired, _ = ApiKey.create(alice.user, "an expired one", expires_at=timezone.now())
    keys.revoke(alice.api_key)

    reply = browser(alice).get("/keys/")

    assert reply.context["cards"] == []
    assert [key.state for key in reply.context["ended"]] == ["expired", "revoked"]
    assert reply.context["ended"][0] == expired


def test_it_takes_the_same_number_of_queries_for_many_keys(alice: Person, browser: Any) -> None:
    client = browser(alice)
    client.get("/keys/")

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            client.get("/keys/")
        return len(captured)

    of_one_key = queries()
    for k in range(9):
        ApiKey.create(alice.user, f"key {k}")

    assert queries() == of_one_key


def test_strangers_are_sent_to_the_login(client: Client, alice: Person) -> None:
    for address in ("/keys/", "/keys/new/", of(alice), f"{of(alice)}rotate/", f"{of(alice)}revoke/"):
        assert client.get(address)["Location"] == f"/account/login/?next={address}"
        assert client.post(address)["Location"] == "/account/login/?next=/"


def test_the_keys_of_others_are_not_found(alice: Person, bob: Person, browser: Any) -> None:
    client = browser(bob)

    for address in (of(alice), f"{of(alice)}rotate/", f"{of(alice)}revoke/"):
        assert client.get(address).status_code == client.post(address, PLAIN | {"grace": "0"}).status_code == 404
    assert alice.key[-4:] not in client.get("/keys/").content.decode()
    assert authenticate(alice.key) == alice.api_key


# A new key


def test_a_new_key_is_shown_once_and_works(bob: Person, browser: Any) -> None:
    client = browser(bob)

    reply = client.post("/keys/new/", PLAIN | {"name": " shop "})
    later = client.get("/keys/")

    [secret] = secrets_in(reply)
    key = authenticate(secret)
    assert (key.user, key.name, key.scope, key.spending_cap_credits) == (bob.user, "shop", "generate", None)
    assert "no-store" in reply["Cache-Control"]
    assert secrets_in(later) == []


def test_every_limit_of_the_form_is_kept(bob: Person, browser: Any) -> None:
    bob.user.time_zone = "Asia/Tokyo"
    bob.user.save()
    body = {
        "name": "shop",
        "scope": "read",
        "spending_cap_credits": "100",
        "expires_on": "2999-12-30",
        "allowed_addresses": "10.0.0.0/8\r\n203.0.113.7",
    }

    browser(bob).post("/keys/new/", body)

    key = ApiKey.objects.get(name="shop")
    assert (key.scope, key.spending_cap_credits) == ("read", 100)
    assert key.allowed_addresses == ["10.0.0.0/8", "203.0.113.7/32"]
    assert key.expires_at == datetime(2999, 12, 30, 15, tzinfo=UTC)  # the end of that day in Tokyo


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("name", " ", "This field is required."),
        ("name", "x" * 101, "Ensure this value has at most 100 characters (it has 101)."),
        ("name", "a\x00b", "Null characters are not allowed."),
        ("scope", "admin", "Select a valid choice. admin is not one of the available choices."),
        ("spending_cap_credits", "0", "Ensure this value is greater than or equal to 1."),
        ("spending_cap_credits", "9" * 30, "Ensure this value is less than or equal to 2147483647."),
        ("expires_on", "2001-01-01", "This day is over."),
        ("expires_on", "9999-12-31", "Choose a day before the year 3000, or leave this empty."),
        ("expires_on", "soon", "Enter a valid date."),
        ("allowed_addresses", "home", "home is no address: write 203.0.113.7 or 203.0.113.0/24."),
        ("allowed_addresses", "x " * 3000, "Ensure this value has at most 5000 characters (it has 6000)."),
    ],
)
def test_a_bad_field_says_what_to_change(bob: Person, browser: Any, field: str, value: str, words: str) -> None:
    reply = browser(bob).post("/keys/new/", PLAIN | {field: value})

    assert reply.context["form"].errors == {field: [words]}
    assert words in reply.content.decode()
    assert secrets_in(reply) == []
    assert ApiKey.objects.filter(user=bob.user).count() == 1


def test_an_account_has_a_bounded_number_of_keys(bob: Person, browser: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(forms, "MOST_KEYS", 1)

    reply = browser(bob).post("/keys/new/", PLAIN)

    assert "Revoke one that nothing uses" in reply.content.decode()
    assert bob.user.api_keys.count() == 1


# Changes


def test_a_key_is_renamed_and_limited(alice: Person, browser: Any) -> None:
    body = PLAIN | {"name": "renamed", "scope": "read", "spending_cap_credits": "7", "allowed_addresses": "10.0.0.1"}

    reply = browser(alice).post(of(alice), body)

    key = ApiKey.objects.get(pk=alice.api_key.pk)
    assert reply["Location"] == "/keys/"
    assert (key.name, key.scope, key.spending_cap_credits, key.allowed_addresses) == (
        "renamed",
        "read",
        7,
        ["10.0.0.1/32"],
    )


def test_the_last_day_stays_as_it_was_unless_it_is_changed(alice: Person, browser: Any) -> None:
    exactly = timezone.now() + timedelta(days=3)
    ApiKey.objects.filter(pk=alice.api_key.pk).update(expires_at=exactly)
    client = browser(alice)
    shown = client.get(of(alice)).context["form"]["expires_on"].value()

    client.post(of(alice), PLAIN | {"expires_on": str(shown)})
    kept = ApiKey.objects.get(pk=alice.api_key.pk).expires_at
    client.post(of(alice), PLAIN)

    assert kept == exactly
    assert ApiKey.objects.get(pk=alice.api_key.pk).expires_at is None


def test_a_form_that_is_refused_changes_nothing(alice: Person, browser: Any) -> None:
    reply = browser(alice).post(of(alice), PLAIN | {"name": ""})

    assert "<h1>test</h1>" in reply.content.decode()
    assert ApiKey.objects.get(pk=alice.api_key.pk).name == "test"


# Rotation and revocation


@pytest.mark.parametrize(("grace", "hours"), [("0", 0), ("1", 1), ("24", 24)])
def test_a_rotated_key_shows_its_new_secret_once(alice: Person, browser: Any, grace: str, hours: int) -> None:
    before = timezone.now()

    reply = browser(alice).post(f"{of(alice)}rotate/", {"grace": grace, "last_four": alice.key[-4:]})

    [secret] = secrets_in(reply)
    key = authenticate(secret)
    assert key == alice.api_key
    if hours:
        assert authenticate(alice.key) == key
        assert abs(key.previous_expires_at - before - timedelta(hours=hours)) < timedelta(minutes=1)
    else:
        with pytest.raises(InvalidKey):
            authenticate(alice.key)


def test_a_rotation_that_is_sent_twice_rotates_once_and_says_so(alice: Person, browser: Any) -> None:
    client = browser(alice)
    shown = client.get(f"{of(alice)}rotate/").content.decode()
    body = {"grace": "24", "last_four": alice.key[-4:]}

    [secret] = secrets_in(client.post(f"{of(alice)}rotate/", body))
    again = client.post(f"{of(alice)}rotate/", body, follow=True)

    assert f'name="last_four" value="{alice.key[-4:]}"' in shown
    assert "was not rotated" in again.content.decode()
    assert secrets_in(again) == []
    assert authenticate(alice.key) == authenticate(secret) == alice.api_key


@pytest.mark.parametrize("grace", ["", "2", "-1", "999999999999"])
def test_another_grace_period_is_refused(alice: Person, browser: Any, grace: str) -> None:
    reply = browser(alice).post(f"{of(alice)}rotate/", {"grace": grace, "last_four": alice.key[-4:]})

    assert reply.context["form"].errors
    assert ApiKey.objects.get(pk=alice.api_key.pk).digest == alice.api_key.digest


def test_an_expired_key_is_not_rotated(alice: Person, browser: Any) -> None:
    ApiKey.objects.filter(pk=alice.api_key.pk).update(expires_at=timezone.now())

    reply = browser(alice).post(f"{of(alice)}rotate/", {"grace": "1", "last_four": alice.key[-4:]}, follow=True)

    assert "was not rotated" in reply.content.decode()
    assert ApiKey.objects.get(pk=alice.api_key.pk).digest == alice.api_key.digest


def test_revoking_asks_first_and_then_ends_the_key(alice: Person, browser: Any) -> None:
    client = browser(alice)

    asked = client.get(f"{of(alice)}revoke/")
    assert authenticate(alice.key)
    client.post(f"{of(alice)}revoke/")

    assert "Revoke test?" in asked.content.decode()
    with pytest.raises(InvalidKey):
        authenticate(alice.key)
    assert client.post(f"{of(alice)}rotate/", {"grace": "1"}).status_code == 404


@pytest.mark.parametrize("question", ["rotate", "revoke"])
def test_a_question_is_a_page_or_the_content_of_a_dialog(alice: Person, browser: Any, question: str) -> None:
    client = browser(alice)

    page = client.get(f"{of(alice)}{question}/").content.decode()
    dialog = client.get(f"{of(alice)}{question}/", headers=HTMX).content.decode()

    assert "<html" in page
    assert "<html" not in dialog
    for text in (page, dialog):
        assert f'action="/keys/{alice.api_key.pk}/{question}/"' in text


def test_editing_a_key_that_is_revoked_meanwhile_does_not_revive_it(alice: Person) -> None:
    form = forms.KeyForm(PLAIN, instance=ApiKey.objects.get(pk=alice.api_key.pk))
    keys.revoke(alice.api_key)

    assert form.is_valid()
    form.save()

    now = ApiKey.objects.get(pk=alice.api_key.pk)
    assert (now.name, now.revoked_at is None) == ("shop", False)
