"""Finds the account behind an API key, and tells whether the key is good for what is asked."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

from django.core.cache import caches
from django.db import connection
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from accounts.addresses import Address, is_within
from accounts.models import ApiKey, QuotaOverride, Scope, digest
from config import sql

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations


class LookedUp(TypedDict):
    """What is looked up together with a key."""

    is_overridden: bool  # the account has a QuotaOverride, for its limits


FoundKey: TypeAlias = "WithAnnotations[ApiKey, LookedUp]"

# PostgreSQL gives a row another xmin or ctid whenever it is written, by whomever.
VERSIONS = """
    SELECT k.xmin, k.ctid, u.xmin, u.ctid, p.xmin, p.ctid,
        EXISTS (SELECT FROM accounts_quotaoverride o WHERE o.user_id = u.id AND o.ends_at > %s)
    FROM accounts_apikey k JOIN accounts_user u ON u.id = k.user_id LEFT JOIN accounts_plan p ON p.id = u.plan_id
    WHERE k.digest = %s OR k.previous_digest = %s
"""


class InvalidKey(Exception):
    """The key is missing, unknown, revoked or expired, or its account is switched off."""


class KeyNotAllowed(InvalidKey):
    """The key is good, but not for this, or not from here; the message says so to its holder."""


def authenticate(secret: str | None, needs: Scope = Scope.READ, address: Address | None = None) -> FoundKey:
    """Return the key with its user, and note that it was used.

    `address` is where the request comes from; unknown, it is refused by a key that is bound to addresses.

    Raises:
        InvalidKey, KeyNotAllowed: nothing was written.
    """
    key = find(secret) if secret else None
    if key is None:
        raise InvalidKey
    if needs == Scope.GENERATE and key.scope != Scope.GENERATE:
        raise KeyNotAllowed("This API key may only read.")
    if key.allowed_addresses and (address is None or not is_within(address, key.allowed_addresses)):
        raise KeyNotAllowed(f"This API key may not be used from {address or 'an unknown address'}.")
    note_use(key, by_previous_secret=key.digest != digest(secret or ""))
    return key


def find(secret: str) -> "FoundKey | None":
    """Return the live key that has the secret, or had it before it was rotated and may still use it.

    On PostgreSQL, what was read of a key is kept in this process for a while, since Django takes longer to ask for it
    than the database to answer. Every request asks for the versions of the rows, so whatever is changed about them
    takes effect at once.
    """
    hashed = digest(secret)
    keys = kept(hashed) if connection.vendor == "postgresql" else read(hashed)
    return next((key for key in keys if is_good(key, hashed)), None)


def kept(hashed: str) -> "list[FoundKey]":
    now_there = versions(hashed)
    if not now_there:
        return []
    known, keys = caches["keys"].get(hashed, (None, []))
    if known != now_there:
        keys = read(hashed)
        caches["keys"].set(hashed, (now_there, keys))  # the older versions: rows written meanwhile are read again
    return keys


def versions(hashed: str) -> list[tuple[Any, ...]]:
    """Return what differs as soon as a key that has or had the secret, its account or its plan is another."""
    return sql.rows(VERSIONS, timezone.now(), hashed, hashed)


def read(hashed: str) -> "list[FoundKey]":
    overrides = QuotaOverride.objects.filter(user=OuterRef("user"), ends_at__gt=timezone.now())
    return list(
        ApiKey.objects.select_related("user__plan")
        .filter(Q(digest=hashed) | Q(previous_digest=hashed))
        .annotate(is_overridden=Exists(overrides))
    )


def is_good(key: ApiKey, hashed: str) -> bool:
    """Tell whether the key's present secret, or its previous one, opens the account now."""
    return key.state == "active" and key.user.is_active and (key.digest == hashed or key.previous_secret_works)


def note_use(key: ApiKey, by_previous_secret: bool) -> None:
    """Write down when the key was used, at most once a minute for each of its secrets."""
    now = timezone.now()
    noted = {"last_used_at": key.last_used_at}
    if by_previous_secret:
        noted["previous_last_used_at"] = key.previous_last_used_at
    if any(at is None or now - at > timedelta(minutes=1) for at in noted.values()):
        ApiKey.objects.filter(pk=key.pk).update(**dict.fromkeys(noted, now))
