"""Finds the account behind an API key, and tells whether the key is good for what is asked."""

from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias, TypedDict

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from accounts.addresses import Address, is_within
from accounts.models import ApiKey, QuotaOverride, Scope, digest

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations


class LookedUp(TypedDict):
    """What is looked up together with a key."""

    is_overridden: bool  # the account has a QuotaOverride, for its limits


FoundKey: TypeAlias = "WithAnnotations[ApiKey, LookedUp]"


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

    It is read anew for every request, so that whatever is changed about it takes effect at once; and by a query that is
    quickly made, for on a busy site making it takes longer than the database does.
    """
    hashed = digest(secret)
    overrides = QuotaOverride.objects.filter(user=OuterRef("user"), ends_at__gt=timezone.now())
    keys = (
        ApiKey.objects.select_related("user__plan")
        .filter(Q(digest=hashed) | Q(previous_digest=hashed))
        .annotate(is_overridden=Exists(overrides))
    )
    return next((key for key in keys if is_good(key, hashed)), None)


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
