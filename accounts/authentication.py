"""Finds the account behind an API key."""

from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from accounts.models import ApiKey, digest


class InvalidKey(Exception):
    """The key is missing, unknown, revoked or expired, or its account is switched off."""


def authenticate(secret: str | None) -> ApiKey:
    """Return the key with its user, and note that it was used.

    Raises:
        InvalidKey: nothing was written.
    """
    now = timezone.now()
    key = (
        ApiKey.objects.select_related("user", "user__plan")
        .filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None, user__is_active=True)
        .filter(digest=digest(secret))
        .first()
        if secret
        else None
    )
    if key is None:
        raise InvalidKey
    if key.last_used_at is None or now - key.last_used_at > timedelta(minutes=1):
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)
    return key
