"""Users: one account for an address, whatever its case."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.db import IntegrityError

from accounts.models import ApiKey, User
from tests.conftest import Person

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


def test_an_address_is_kept_in_lower_case_and_logs_in_in_any(db: None) -> None:
    user = User.objects.create_user(" Dora@Example.ORG ", "correct horse")

    assert user.email == "dora@example.org"
    assert authenticate(username="DORA@example.org", password="correct horse") == user
    assert authenticate(username="dora@example.org", password="wrong") is None


def test_an_address_has_one_account(alice: Person) -> None:
    with pytest.raises(IntegrityError):
        User.objects.create_user("ALICE@example.org")


def test_the_database_refuses_the_same_address_in_another_case(alice: Person) -> None:
    with pytest.raises(IntegrityError, match="one_account_per_email"):
        User.objects.create(email="Alice@example.org")


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"closed_at": NOON}, "closed_is_not_active"),
        ({"suspended_at": NOON}, "suspended_with_a_reason"),
        ({"suspension_reason": "Spam"}, "suspended_with_a_reason"),
    ],
)
def test_the_database_refuses_a_user_that_makes_no_sense(
    alice: Person, changes: dict[str, Any], constraint: str
) -> None:
    with pytest.raises(IntegrityError, match=constraint):
        User.objects.filter(pk=alice.user.pk).update(**changes)


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [({"scope": "everything"}, "scope_is_known"), ({"previous_digest": "0" * 64}, "previous_secret_has_an_end")],
)
def test_the_database_refuses_a_key_that_makes_no_sense(
    alice: Person, changes: dict[str, Any], constraint: str
) -> None:
    with pytest.raises(IntegrityError, match=constraint):
        ApiKey.objects.filter(pk=alice.api_key.pk).update(**changes)


def test_a_user_without_a_password_cannot_log_in(db: None) -> None:
    User.objects.create_user("dora@example.org")

    assert authenticate(username="dora@example.org", password="") is None


def test_a_superuser_is_staff(db: None) -> None:
    user = User.objects.create_superuser("root@example.org", "correct horse")

    assert (user.is_staff, user.is_superuser) == (True, True)


def test_every_user_has_a_webhook_secret_of_its_own(alice: Person, bob: Person) -> None:
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{32}", alice.user.webhook_secret)
    assert alice.user.webhook_secret != bob.user.webhook_secret
