"""The life of an API key after it was made: a new secret for it, and its end."""

from datetime import timedelta

from django.utils import timezone

from accounts.models import ApiKey


class KeyIsOver(Exception):
    """The key was revoked or has expired, or its secret is another one by now."""


def rotate(key: ApiKey, grace: timedelta) -> str:
    """Give the key a new secret and return it; the present one works on for `grace`.

    Name, limits and what was used stay with the key. A secret from before the last rotation ends at once: there are
    never more than two.

    Raises:
        KeyIsOver: nothing was written. Of two rotations at the same time the second one raises it too.
    """
    now, fresh = timezone.now(), ApiKey()
    secret = fresh.set_secret()
    rotated = ApiKey.objects.live().filter(pk=key.pk, digest=key.digest)
    if not rotated.update(
        digest=fresh.digest,
        last_four=fresh.last_four,
        rotated_at=now,
        previous_digest=key.digest if grace else None,
        previous_last_four=key.last_four if grace else "",
        previous_expires_at=now + grace if grace else None,
        previous_last_used_at=None,
    ):
        raise KeyIsOver
    key.refresh_from_db()
    return secret


def revoke(key: ApiKey) -> None:
    """End the key, with every secret it has; repeating it changes nothing."""
    ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now())
