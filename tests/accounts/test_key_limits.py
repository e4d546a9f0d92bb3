"""What a key is good for, where from, and for how long after it was rotated."""

from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import RequestFactory
from django.utils import timezone

from accounts import keys
from accounts.addresses import client_address
from accounts.authentication import InvalidKey, KeyNotAllowed, authenticate
from accounts.forms import AddressesField
from accounts.models import ApiKey, Scope
from tests.conftest import Api, Person
from tests.racing import race
from tests.v3 import bodies

HOUR = timedelta(hours=1)


def limit(person: Person, **fields: Any) -> None:
    ApiKey.objects.filter(pk=person.api_key.pk).update(**fields)


# Scopes


def test_a_key_that_may_only_read_reads_and_makes_nothing(api: Api, alice: Person) -> None:
    generation = api.post("text2img", bodies.text2img(alice.key)).json()
    limit(alice, scope=Scope.READ)
    before = bodies.written()

    refused = [
        api.post("text2img", bodies.text2img(alice.key)).json(),
        api.post("img2img", bodies.img2img(alice.key)).json(),
        api.post(f"cancel/{generation['id']}", {"key": alice.key}).json(),
        api.post(f"reproduce/{generation['id']}", {"key": alice.key}).json(),
    ]

    tip = "This API key may only read. What it is good for is set on http://testserver/keys/."
    assert refused == [{"status": "error", "message": "Invalid Api Key", "tip": tip}] * 4
    assert bodies.written() == before
    for endpoint in (f"fetch/{generation['id']}", "system_load", "account"):
        assert api.post(endpoint, {"key": alice.key}).json()["status"] in ("processing", "ok", "success")


def test_what_a_key_may_not_do_is_a_403_where_real_codes_are_on(api: Api, alice: Person, settings: Any) -> None:
    settings.V3_REAL_STATUS_CODES = True
    limit(alice, scope=Scope.READ)

    assert api.post("text2img", bodies.text2img(alice.key)).status_code == 403


# Addresses


@pytest.mark.parametrize(
    ("networks", "address", "welcome"),
    [
        ([], "203.0.113.7", True),
        (["203.0.113.7/32"], "203.0.113.7", True),
        (["203.0.113.7/32"], "203.0.113.8", False),
        (["10.0.0.0/8", "203.0.113.0/24"], "203.0.113.255", True),
        (["203.0.113.0/24"], "203.0.114.0", False),
        (["2001:db8::/32"], "2001:db8::1", True),
        (["2001:db8::/32"], "203.0.113.7", False),
        (["0.0.0.0/0"], "2001:db8::1", False),
    ],
)
def test_a_key_works_from_its_networks_only(alice: Person, networks: list[str], address: str, welcome: bool) -> None:
    limit(alice, allowed_addresses=networks)

    if welcome:
        assert authenticate(alice.key, address=ip_address(address)) == alice.api_key
    else:
        with pytest.raises(KeyNotAllowed, match=f"may not be used from {address}"):
            authenticate(alice.key, address=ip_address(address))
        assert ApiKey.objects.get(pk=alice.api_key.pk).last_used_at is None


def test_a_key_with_networks_is_refused_where_the_address_is_unknown(alice: Person) -> None:
    limit(alice, allowed_addresses=["0.0.0.0/0", "::/0"])

    with pytest.raises(KeyNotAllowed, match="an unknown address"):
        authenticate(alice.key)


def test_the_api_asks_where_a_call_comes_from(api: Api, alice: Person) -> None:
    limit(alice, allowed_addresses=["203.0.113.0/24"])

    inside = api.post("system_load", {"key": alice.key}, REMOTE_ADDR="203.0.113.9").json()
    outside = api.post("system_load", {"key": alice.key}, REMOTE_ADDR="198.51.100.9").json()
    pretending = api.post(
        "system_load", {"key": alice.key}, REMOTE_ADDR="198.51.100.9", headers={"X-Forwarded-For": "203.0.113.9"}
    ).json()

    assert inside["status"] == "ok"
    tip = "This API key may not be used from 198.51.100.9. What it is good for is set on http://testserver/keys/."
    assert outside == pretending == {"status": "error", "message": "Invalid Api Key", "tip": tip}


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("198.51.100.9", None, "198.51.100.9"),
        ("198.51.100.9", "203.0.113.9", "198.51.100.9"),  # nobody whom we know says so
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.66, 203.0.113.9", "203.0.113.9"),  # the first was there before it came to us
        ("10.0.0.1", "203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.66,203.0.113.9,10.0.0.3,10.0.0.2", "203.0.113.9"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),  # a client of our own network
        ("10.0.0.1", "203.0.113.9:4711", "203.0.113.9"),
        ("10.0.0.1", "[2001:db8::9]:4711", "2001:db8::9"),
        ("10.0.0.1", "2001:db8::9", "2001:db8::9"),
        ("10.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"),
        ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9, unknown", None),
        ("10.0.0.1", "203.0.113.9, <script>, 10.0.0.2", None),
        ("10.0.0.1", " , ", "10.0.0.1"),
        ("", "203.0.113.9", None),
    ],
)
def test_only_the_sites_own_proxies_are_believed(settings: Any, peer: str, forwarded: str | None, client: Any) -> None:
    settings.TRUSTED_PROXIES = ["10.0.0.0/8"]
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}

    found = client_address(RequestFactory().get("/", REMOTE_ADDR=peer, headers=headers))

    assert found == (client and ip_address(client))


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        ("", []),
        ("203.0.113.7", ["203.0.113.7/32"]),
        (" 203.0.113.7 ,10.0.0.0/8\n\n2001:DB8::/32 10.0.0.0/8", ["203.0.113.7/32", "10.0.0.0/8", "2001:db8::/32"]),
    ],
)
def test_networks_are_kept_in_one_form(text: str, networks: list[str]) -> None:
    assert AddressesField(required=False).clean(text) == networks


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("example.org", "example.org is no address: write 203.0.113.7 or 203.0.113.0/24."),
        ("10.0.0.0/33", "10.0.0.0/33 is no address: write 203.0.113.7 or 203.0.113.0/24."),
        ("203.0.113.7/24", "203.0.113.7/24 is no network: did you mean 203.0.113.0/24?"),
        (" ".join(f"10.0.0.{k}" for k in range(51)), "These are more than 50 networks."),
    ],
)
def test_what_is_no_network_is_named(text: str, words: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        AddressesField(required=False).clean(text)

    assert refusal.value.messages == [words]


# Rotation


def test_both_secrets_work_until_the_grace_period_is_over(alice: Person, monkeypatch: Any) -> None:
    fresh = keys.rotate(alice.api_key, HOUR)

    assert authenticate(fresh) == authenticate(alice.key) == alice.api_key
    later = timezone.now() + HOUR
    monkeypatch.setattr(timezone, "now", lambda: later)
    assert authenticate(fresh) == alice.api_key
    with pytest.raises(InvalidKey):
        authenticate(alice.key)


def test_without_a_grace_period_the_old_secret_ends_at_once(alice: Person) -> None:
    fresh = keys.rotate(alice.api_key, timedelta())

    assert authenticate(fresh) == alice.api_key
    with pytest.raises(InvalidKey):
        authenticate(alice.key)


def test_limits_and_history_stay_with_a_rotated_key(alice: Person) -> None:
    limit(alice, scope=Scope.READ, allowed_addresses=["10.0.0.0/8"], spending_cap_credits=5)

    fresh = keys.rotate(alice.api_key, HOUR)

    assert ApiKey.objects.count() == 1
    for secret in (fresh, alice.key):
        with pytest.raises(KeyNotAllowed, match="may only read"):
            authenticate(secret, Scope.GENERATE, ip_address("10.0.0.1"))
    assert alice.api_key.spending_cap_credits == 5


def test_it_is_noted_which_of_two_secrets_is_still_used(alice: Person) -> None:
    fresh = keys.rotate(alice.api_key, HOUR)

    authenticate(fresh)
    alice.api_key.refresh_from_db()
    new_alone = (alice.api_key.last_used_at, alice.api_key.previous_last_used_at)
    authenticate(alice.key)
    alice.api_key.refresh_from_db()

    assert new_alone[0] is not None
    assert new_alone[1] is None
    assert alice.api_key.previous_last_used_at is not None


def test_a_second_rotation_ends_the_secret_before_the_last(alice: Person) -> None:
    second = keys.rotate(alice.api_key, HOUR)
    third = keys.rotate(alice.api_key, HOUR)

    assert authenticate(third) == authenticate(second) == alice.api_key
    with pytest.raises(InvalidKey):
        authenticate(alice.key)


def test_revoking_ends_both_secrets(alice: Person) -> None:
    fresh = keys.rotate(alice.api_key, HOUR)
    keys.revoke(alice.api_key)
    revoked_at = ApiKey.objects.get().revoked_at
    keys.revoke(alice.api_key)

    for secret in (fresh, alice.key):
        with pytest.raises(InvalidKey):
            authenticate(secret)
    assert ApiKey.objects.get().revoked_at == revoked_at


@pytest.mark.parametrize(
    "fields", [{"revoked_at": timezone.now()}, {"expires_at": timezone.now()}], ids=["revoked", "expired"]
)
def test_a_key_that_is_over_cannot_be_rotated_back_to_life(alice: Person, fields: dict[str, Any]) -> None:
    limit(alice, **fields)

    with pytest.raises(keys.KeyIsOver):
        keys.rotate(alice.api_key, HOUR)

    assert ApiKey.objects.get().digest == alice.api_key.digest


def test_an_expired_key_takes_its_old_secret_with_it(alice: Person) -> None:
    keys.rotate(alice.api_key, HOUR)
    limit(alice, expires_at=timezone.now())

    with pytest.raises(InvalidKey):
        authenticate(alice.key)


@pytest.mark.django_db(transaction=True)
def test_of_racing_rotations_one_wins_and_only_its_secret_works(alice: Person) -> None:
    outcomes = race(4, lambda k: keys.rotate(ApiKey(pk=alice.api_key.pk, digest=alice.api_key.digest), HOUR))

    secrets = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert len(secrets) == 1
    assert authenticate(secrets[0]) == authenticate(alice.key) == alice.api_key
