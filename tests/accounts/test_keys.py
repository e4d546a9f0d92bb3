"""API keys: how they are kept, and whom they let in."""

from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.cache import caches
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from accounts import keys, quotas
from accounts.authentication import FoundKey, InvalidKey, authenticate, find, read
from accounts.models import ApiKey, Plan, QuotaOverride, User, digest
from tests.conftest import Person
from tests.racing import race


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


def test_what_was_read_of_a_key_is_kept_and_only_its_versions_are_asked(
    alice: Person, django_assert_num_queries: Any
) -> None:
    authenticate(alice.key)  # notes the use, which writes the row
    with django_assert_num_queries(2):
        first = authenticate(alice.key)

    with django_assert_num_queries(1):
        again = authenticate(alice.key)
        limits = quotas.limits(again.user, again.is_overridden)

    assert (again, again.user, again.is_overridden) == (first, alice.user, False)
    assert again is not first  # what one request does to it, no other sees
    assert limits == quotas.Limits()


def test_a_database_that_tells_no_versions_is_asked_for_the_key_itself(
    alice: Person, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(connection, "vendor", "sqlite")
    authenticate(alice.key)

    for _ in range(2):
        with django_assert_num_queries(1) as asked:
            authenticate(alice.key)

        assert "xmin" not in asked[0]["sql"]


def is_over(alice: Person) -> bool:
    return find(alice.key) is None


def largest_side_pixels(alice: Person) -> int:
    key = authenticate(alice.key)
    return quotas.limits(key.user, key.is_overridden).largest_side_pixels


def override(user: User) -> QuotaOverride:
    tomorrow = timezone.now() + timedelta(days=1)
    return QuotaOverride.objects.create(user=user, reason="test", largest_side_pixels=64, ends_at=tomorrow)


CHANGES: dict[str, tuple[Callable[[Person], Any], Callable[[Person], Any], Any]] = {
    "the key is revoked": (lambda alice: keys.revoke(alice.api_key), is_over, True),
    "the key gets another secret": (lambda alice: keys.rotate(alice.api_key, timedelta(0)), is_over, True),
    "the key is bound to addresses": (
        lambda alice: ApiKey.objects.filter(user=alice.user).update(allowed_addresses=["203.0.113.0/24"]),
        lambda alice: find(alice.key).allowed_addresses,  # type: ignore[union-attr]
        ["203.0.113.0/24"],
    ),
    "the account is switched off": (
        lambda alice: User.objects.filter(pk=alice.user.pk).update(is_active=False),
        is_over,
        True,
    ),
    "the account is suspended": (
        lambda alice: User.objects.filter(pk=alice.user.pk).update(
            suspended_at=timezone.now(), suspension_reason="abuse"
        ),
        lambda alice: authenticate(alice.key).user.suspension_reason,
        "abuse",
    ),
    "the account gets a plan": (
        lambda alice: User.objects.filter(pk=alice.user.pk).update(
            plan=Plan.objects.create(name="small", largest_side_pixels=256)
        ),
        largest_side_pixels,
        256,
    ),
    "its plan is changed": (
        lambda alice: Plan.objects.filter(user=alice.user).update(largest_side_pixels=128),
        largest_side_pixels,
        128,
    ),
    "it gets an override": (lambda alice: override(alice.user), largest_side_pixels, 64),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_changed_takes_effect_though_the_key_is_kept(person: Callable[..., Person], change: str) -> None:
    change_it, seen, wanted = CHANGES[change]
    alice = person("alice", plan=Plan.objects.create(name="large", largest_side_pixels=512))
    authenticate(alice.key)
    before = seen(alice)

    change_it(alice)

    assert before != wanted
    assert seen(alice) == wanted


@pytest.mark.django_db(transaction=True)
def test_a_key_that_another_process_revokes_is_refused_by_who_kept_it(person: Callable[..., Person]) -> None:
    alice = person("alice")
    authenticate(alice.key)
    authenticate(alice.key)

    assert race(1, lambda _: keys.revoke(alice.api_key)) == [None]
    with pytest.raises(InvalidKey):
        authenticate(alice.key)


def test_a_key_that_is_changed_while_it_is_read_is_read_again(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_and_then_a_change(hashed: str) -> list[FoundKey]:
        found = read(hashed)
        ApiKey.objects.filter(pk=alice.api_key.pk).update(name="changed")
        return found

    with monkeypatch.context() as patched:
        patched.setattr("accounts.authentication.read", read_and_then_a_change)
        find(alice.key)

    assert authenticate(alice.key).name == "changed"


def test_a_key_that_expires_while_it_is_kept_is_refused(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now()
    ApiKey.objects.filter(pk=alice.api_key.pk).update(expires_at=now + timedelta(minutes=1))
    authenticate(alice.key)

    monkeypatch.setattr("accounts.models.timezone.now", lambda: now + timedelta(minutes=1))

    assert is_over(alice)


def test_secrets_are_not_kept_and_unknown_ones_leave_nothing(alice: Person) -> None:
    caches["keys"].clear()
    find(alice.key)
    find("sk_unknown")

    kept = caches["keys"]._cache  # type: ignore[attr-defined]

    assert len(kept) == 1
    assert alice.key not in str(kept)


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
