"""The pages of /account/…: sign up, log in, second factor, passwords, addresses, sessions."""

import re
import time
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from allauth.usersessions.models import UserSession
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core import mail
from django.test import Client
from django.utils import timezone

from accounts import jobs
from accounts.models import User
from generation.management.commands import demo
from tests.conftest import Person
from tests.racing import race
from tests.services import free_port

EMAIL, PASSWORD = "dora@example.org", "pale otter at dawn"


def log_in(client: Client, email: str, password: str, **extra: Any) -> Any:
    return client.post("/account/login/", {"login": email, "password": password}, **extra)


def is_logged_in(client: Client) -> bool:
    return client.get("/keys/").status_code == 200


def sent_code() -> str:
    return re.search(r"^[A-Z0-9-]{6,9}$", str(mail.outbox[-1].body), re.MULTILINE)[0]  # type: ignore[index]


@pytest.fixture
def entered(alice: Person) -> Client:
    """Alice after she logged in by the page."""
    client = Client()
    log_in(client, alice.user.email, "correct horse")
    return client


@pytest.fixture
def sure(entered: Client) -> Client:
    """Alice after she was asked for her password again."""
    entered.post("/account/reauthenticate/", {"password": "correct horse"})
    return entered


# Sign up


def test_who_signs_up_gets_a_code_and_with_it_an_account(db: None, client: Client) -> None:
    client.post("/account/signup/", {"email": "Dora@Example.org", "password1": PASSWORD})
    before = is_logged_in(client)
    client.post("/account/confirm-email/", {"code": sent_code()})

    assert not before
    assert is_logged_in(client)
    assert mail.outbox[0].to == ["dora@example.org"]
    assert mail.outbox[0].subject == "Atelier: Your code"
    assert User.objects.get().email == "dora@example.org"


def test_nobody_logs_in_before_the_address_is_confirmed(db: None, client: Client) -> None:
    client.post("/account/signup/", {"email": "dora@example.org", "password1": PASSWORD})
    other = Client()

    log_in(other, "dora@example.org", PASSWORD)

    assert not is_logged_in(other)


def test_a_wrong_code_confirms_nothing_and_three_end_the_try(db: None, client: Client) -> None:
    client.post("/account/signup/", {"email": "dora@example.org", "password1": PASSWORD})
    code = sent_code()
    first = client.post("/account/confirm-email/", {"code": "AAAA-AAA"}).content.decode()
    for _ in range(2):
        client.post("/account/confirm-email/", {"code": "AAAA-AAA"})

    client.post("/account/confirm-email/", {"code": code})

    assert "The code is wrong." in first
    assert not is_logged_in(client)


def test_a_page_does_not_tell_who_has_an_account(alice: Person, client: Client) -> None:
    taken = client.post("/account/signup/", {"email": alice.user.email, "password1": PASSWORD})
    free = Client().post("/account/signup/", {"email": "dora@example.org", "password1": PASSWORD})

    assert (taken.status_code, taken["Location"]) == (free.status_code, free["Location"])
    assert "you have an account already" in str(mail.outbox[0].body)
    assert User.objects.filter(email=alice.user.email).count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_form_that_is_sent_twice_at_once_makes_one_account(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]  # slow: both see no account yet
    clients = Client(), Client()

    replies = race(2, lambda k: clients[k].post("/account/signup/", {"email": EMAIL, "password1": PASSWORD}))

    assert [(reply.status_code, reply["Location"]) for reply in replies] == [(302, "/account/confirm-email/")] * 2
    assert User.objects.get().email == EMAIL
    assert len(mail.outbox) == 1
    for client in clients:
        client.post("/account/confirm-email/", {"code": sent_code()})
    assert sorted(is_logged_in(client) for client in clients) == [False, True]


@pytest.mark.parametrize("password", ["short", "password123", "dora@example.org"])
def test_a_weak_password_is_refused(db: None, client: Client, password: str) -> None:
    reply = client.post("/account/signup/", {"email": "dora@example.org", "password1": password})

    assert reply.context["form"].errors["password1"]
    assert not User.objects.exists()


# Log in


def test_a_password_opens_the_account_and_a_wrong_one_does_not(alice: Person, client: Client) -> None:
    wrong = log_in(client, alice.user.email, "wrong").content.decode()
    before = is_logged_in(client)
    log_in(client, "ALICE@example.org", "correct horse")

    assert "The e-mail address or the password is wrong." in wrong
    assert not before
    assert is_logged_in(client)


def test_guessing_a_password_is_stopped_wherever_it_comes_from(alice: Person, client: Client) -> None:
    for k in range(5):
        log_in(client, alice.user.email, "wrong", REMOTE_ADDR=f"203.0.113.{k}")

    reply = log_in(client, alice.user.email, "correct horse", REMOTE_ADDR="203.0.113.9")

    assert "Too many failed tries." in reply.content.decode()
    assert not is_logged_in(client)


def test_an_address_that_tries_many_accounts_is_stopped_whatever_it_claims(alice: Person, client: Client) -> None:
    replies = [
        log_in(client, f"person{k}@example.org", "wrong", headers={"X-Forwarded-For": f"203.0.113.{k}"}).content
        for k in range(11)
    ]

    assert b"Too many failed tries." in replies[10]
    assert b"Too many failed tries." not in replies[9]


def test_a_closed_door_does_not_close_another_visitors(alice: Person, client: Client) -> None:
    for k in range(11):
        log_in(client, f"person{k}@example.org", "wrong", REMOTE_ADDR="203.0.113.5")
    other = Client()

    log_in(other, alice.user.email, "correct horse", REMOTE_ADDR="203.0.113.6")

    assert is_logged_in(other)


def test_an_account_that_is_switched_off_stays_out(alice: Person, client: Client) -> None:
    User.objects.update(is_active=False)

    log_in(client, alice.user.email, "correct horse")

    assert not is_logged_in(client)


def test_logging_out_needs_a_click(entered: Client) -> None:
    entered.get("/account/logout/")
    still = is_logged_in(entered)
    entered.post("/account/logout/")

    assert still
    assert not is_logged_in(entered)


def test_the_demo_account_logs_in_with_the_password_that_is_printed(db: None, client: Client) -> None:
    account = demo.create_account()

    log_in(client, account["email"], account["password"])

    assert is_logged_in(client)
    assert mail.outbox == []


# Passwords and addresses


def test_a_forgotten_password_is_replaced_by_a_link_that_works_once(alice: Person, client: Client) -> None:
    client.post("/account/password/reset/", {"email": alice.user.email})
    link = re.search(r"http://testserver(\S+)", str(mail.outbox[0].body))[1]  # type: ignore[index]
    form = client.get(link)["Location"]
    client.post(form, {"password1": PASSWORD, "password2": PASSWORD})

    log_in(client, alice.user.email, PASSWORD)

    assert is_logged_in(client)
    assert "This link does not work any more" in Client().get(link).content.decode()


def test_an_unknown_address_gets_a_letter_and_the_same_page(db: None, client: Client) -> None:
    reply = client.post("/account/password/reset/", {"email": "nobody@example.org"})

    assert reply["Location"] == "/account/password/reset/done/"
    assert "there is no account with this address" in str(mail.outbox[0].body)


def test_a_new_password_replaces_the_old_one_and_its_owner_is_told(alice: Person, entered: Client) -> None:
    body = {"oldpassword": "correct horse", "password1": PASSWORD, "password2": PASSWORD}

    entered.post("/account/password/change/", body)

    assert User.objects.get(pk=alice.user.pk).check_password(PASSWORD)
    assert "If it was not you, choose a new password now" in str(mail.outbox[0].body)


def test_a_new_address_counts_once_it_is_confirmed(alice: Person, sure: Client) -> None:
    sure.post("/account/email/", {"action_add": "", "email": "Alicia@example.org"})
    before = User.objects.get(pk=alice.user.pk).email
    sure.post("/account/confirm-email/", {"code": sent_code()})

    assert before == "alice@example.org"
    assert User.objects.get(pk=alice.user.pk).email == "alicia@example.org"


@pytest.mark.parametrize("page", ["email/", "2fa/totp/activate/", "2fa/recovery-codes/generate/"])
def test_what_protects_the_account_asks_for_the_password_first(entered: Client, page: str) -> None:
    assert entered.post(f"/account/{page}", {"action_add": "", "email": "x@example.org"})["Location"].startswith(
        "/account/reauthenticate/"
    )


# Second factor


def code_now(secret: str, steps_ahead: int = 0) -> str:
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30 + steps_ahead))


@pytest.fixture
def protected(sure: Client) -> str:
    """Return the secret of alice's authenticator app, which she has just set up."""
    page = sure.get("/account/2fa/totp/activate/").content.decode()
    secret = re.search(r'value="([A-Z2-7]{16,})"', page)[1]  # type: ignore[index]
    sure.post("/account/2fa/totp/activate/", {"code": code_now(secret)})
    return secret


def test_the_picture_for_the_app_shows_under_the_content_policy(sure: Client) -> None:
    reply = sure.get("/account/2fa/totp/activate/")

    assert 'src="data:image/svg+xml' in reply.content.decode()
    assert re.search(r"img-src [^;]*\bdata:", reply["Content-Security-Policy"])


def test_with_the_app_a_password_alone_is_not_enough(alice: Person, protected: str, client: Client) -> None:
    log_in(client, alice.user.email, "correct horse")
    before = is_logged_in(client)
    client.post("/account/2fa/authenticate/", {"code": "000000"})
    wrong = is_logged_in(client)
    client.post("/account/2fa/authenticate/", {"code": code_now(protected, 1)})

    assert (before, wrong) == (False, False)
    assert is_logged_in(client)


def test_a_recovery_code_lets_in_once(alice: Person, protected: str) -> None:
    [code, *_] = Authenticator.objects.get(type=Authenticator.Type.RECOVERY_CODES).wrap().get_unused_codes()

    def enter() -> bool:
        client = Client()
        log_in(client, alice.user.email, "correct horse")
        client.post("/account/2fa/authenticate/", {"code": code})
        return is_logged_in(client)

    assert enter()
    assert not enter()


@pytest.fixture
def no_redis(settings: Any) -> None:
    settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": f"redis://127.0.0.1:{free_port()}/0"}}


def test_who_has_an_account_gets_in_while_redis_is_away(alice: Person, no_redis: None) -> None:
    client = Client()
    reply = log_in(client, alice.user.email, "correct horse")

    assert reply.status_code == 302
    assert is_logged_in(client)


def test_an_account_is_closed_to_guesses_while_redis_is_away_too(alice: Person, no_redis: None) -> None:
    replies = [log_in(Client(), alice.user.email, f"guess {k}").content for k in range(11)]

    assert b"Too many failed tries." in replies[10]


# Sessions


def test_logging_out_everywhere_else_leaves_this_browser(alice: Person, entered: Client) -> None:
    other = Client()
    log_in(other, alice.user.email, "correct horse", headers={"User-Agent": "Another browser"})

    page = entered.get("/account/sessions/").content.decode()
    entered.post("/account/sessions/")

    assert "Another browser" in page
    assert is_logged_in(entered)
    assert not is_logged_in(other)


def test_of_a_session_that_is_over_nothing_stays_by_the_next_day(alice: Person, entered: Client) -> None:
    clients = Client(), Client(), Client()
    for client in clients:
        log_in(client, alice.user.email, "correct horse")
    over, left, lived_on = (client.cookies["sessionid"].value for client in clients)
    Session.objects.filter(session_key=over).update(expire_date=timezone.now() - timedelta(seconds=1))
    SessionStore(left).delete()

    jobs.expire()

    alive = {entered.cookies["sessionid"].value, lived_on}
    assert set(Session.objects.values_list("session_key", flat=True)) == alive
    assert set(UserSession.objects.values_list("session_key", flat=True)) == alive
    assert is_logged_in(entered)


@pytest.mark.parametrize("cookie", [r'"\000\000\000\000\000\000\000\000"', r'"' + "é" * 32 + '"', "x" * 5000])
def test_a_cookie_that_is_no_session_key_is_nobodys(db: None, client: Client, cookie: str) -> None:
    reply = client.get("/account/login/", headers={"Cookie": f"sessionid={cookie}"})

    assert reply.status_code == 200
    assert not reply.context["user"].is_authenticated


def test_sessions_from_before_live_on(alice: Person) -> None:
    entered = Client()
    log_in(entered, alice.user.email, "correct horse")
    key = entered.cookies["sessionid"].value

    assert "_auth_user_id" in SessionStore(key).load()


# Our words, our style


PAGES = {
    "out": ["login/", "signup/", "password/reset/", "password/reset/done/"],
    "in": ["reauthenticate/", "email/", "password/change/", "2fa/", "2fa/totp/activate/", "sessions/", "logout/"],
}


@pytest.mark.parametrize("page", PAGES["out"] + PAGES["in"])
def test_every_page_speaks_our_words_without_inline_style(sure: Client, client: Client, page: str) -> None:
    visitor = sure if page in PAGES["in"] else client

    text = visitor.get(f"/account/{page}").content.decode()
    words = re.sub(r"<[^>]+>", " ", text)

    assert not re.search(r"sign(ed)?[ -]?(in|out)\b|\bemail\b|authenticat(e|ion)\b", words, re.IGNORECASE)
    assert not re.search(r"\sstyle=|<style|\son\w+=", text)
    assert not re.search(r"<(label|legend)[^>]*>[^<]*:\s*</", text)


def test_a_new_password_changes_nothing_else_of_an_account_that_staff_change_meanwhile(alice: Person) -> None:
    User.objects.filter(pk=alice.user.pk).update(suspended_at=timezone.now(), suspension_reason="Chargebacks.")

    get_adapter().set_password(alice.user, PASSWORD)

    now = User.objects.get(pk=alice.user.pk)
    assert (now.suspension_reason, now.check_password(PASSWORD)) == ("Chargebacks.", True)
