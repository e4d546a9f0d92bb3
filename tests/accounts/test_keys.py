"""API keys: how they are kept, and whom they let in."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.authentication import InvalidKey, authenticate
from accounts.models import ApiKey, digest
from tests.conftest import Person


def test_a_key_is_kept_as_its_digest_only(alice: Person) -> None:
    stored = ApiKey.objects.values().get(pk=alice.api_key.pk)

    assert alice.key.startswith("sk_")
    assert len(alice.key) == len("sk_") + 43  # 256 bits
    assert stored["digest"] == digest(alice.key)
    assert stored["last_four"] == alice.key[-4:]
    assert not any(alice.key in str(value) for value in stored.values())


def test_two_keys_differ(alice: Person) -> None:
    assert ApiKey.create(alice.user, "a")[1] != ApiKey.create(alice.user, "b")[1]


def test_a_key_finds_its_account_and_notes_its_use_once_a_minute(alice: Person, bob: Person) -> None:
    key = authenticate(alice.key)
    used_at = ApiKey.objects.get(pk=key.pk).last_used_at
    authenticate(alice.key)

    assert key.user == alice.user
    assert used_at is not None
    assert ApiKey.objects.get(pk=key.pk).last_used_at == used_at
    assert ApiKey.objects.get(pk=bob.api_key.pk).last_used_at is None


@pytest.mark.parametrize("secret", [None, "", "sk_", "sk_unknown", "\x00", "\ud800", "ключ"])
def test_what_is_no_key_is_refused(alice: Person, secret: str | None) -> None:
    with pytest.raises(InvalidKey):
        authenticate(secret)


def test_its_digest_is_no_key(alice: Person) -> None:
    with pytest.raises(InvalidKey):
        authenticate(alice.api_key.digest)


@pytest.mark.parametrize(
    "changes",
    [{"revoked_at": timezone.now()}, {"expires_at": timezone.now() - timedelta(seconds=1)}],
    ids=["revoked", "expired"],
)
def test_a_key_that_is_over_is_refused_and_not_noted_as_used(alice: Person, changes: dict[str, Any]) -> None:
    ApiKey.objects.filter(pk=alice.api_key.pk).update(**changes)

    with pytest.raises(InvalidKey):
        authenticate(alice.key)

    assert ApiKey.objects.get(pk=alice.api_key.pk).last_used_at is None


def test_a_key_that_will_expire_still_works(alice: Person) -> None:
    ApiKey.objects.filter(pk=alice.api_key.pk).update(expires_at=timezone.now() + timedelta(minutes=1))

    assert authenticate(alice.key) == alice.api_key


def test_the_key_of_an_account_that_is_switched_off_is_refused(alice: Person) -> None:
    alice.user.is_active = False
    alice.user.save()

    with pytest.raises(InvalidKey):
        authenticate(alice.key)


def test_create_key_prints_a_key_that_works(alice: Person) -> None:
    out = StringIO()
    call_command("create_key", " ALICE@example.org", "--name", "laptop", stdout=out)

    key = authenticate(out.getvalue().strip())

    assert (key.user, key.name) == (alice.user, "laptop")


@pytest.mark.parametrize("name", [" ", 101 * "x"])
def test_create_key_says_which_names_it_takes(alice: Person, name: str) -> None:
    before = ApiKey.objects.count()

    with pytest.raises(CommandError, match=r"A key's name must have 1 to 100 characters\."):
        call_command("create_key", "alice@example.org", "--name", name)

    assert ApiKey.objects.count() == before


def test_create_key_says_that_there_is_no_such_account(db: None) -> None:
    with pytest.raises(CommandError, match=r"There is no account nobody@example\.org\."):
        call_command("create_key", "nobody@example.org")

    assert not ApiKey.objects.exists()
