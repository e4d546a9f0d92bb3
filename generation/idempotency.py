"""Makes a submission repeatable: the same key with the same body finds the generation that the first one made.

The key's row is written in the transaction that records the generation, so a caller that lost the answer, whatever
crashed in between, may simply ask again.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from django.utils import timezone

from accounts.models import User
from generation.models import Generation, IdempotencyKey

LIFETIME = timedelta(hours=24)


class AlreadySubmitted(Exception):
    """An earlier submission under the same key made this generation."""

    def __init__(self, generation: Generation) -> None:
        super().__init__(f"{generation} was submitted under this key.")
        self.generation = generation


class IdempotencyKeyReused(Exception):
    """The key was used with another body."""


@dataclass(frozen=True)
class Repeatable:
    """The caller's key for one submission, and a digest of what was asked under it."""

    key: str
    fingerprint: str  # SHA-256, hexadecimal

    @classmethod
    def of(cls, key: str, body: dict[str, Any]) -> Self:
        """Raises: RecursionError: the body is nested beyond all reason."""
        return cls(key, hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest())


def find(account: User, repeatable: Repeatable) -> Generation | None:
    """Return the generation that was submitted under the key.

    Raises:
        IdempotencyKeyReused
    """
    row = IdempotencyKey.objects.filter(account=account, key=repeatable.key, created_at__gt=oldest()).first()
    if row is None:
        return None
    if row.fingerprint != repeatable.fingerprint:
        raise IdempotencyKeyReused
    return row.generation


def remember(generation: Generation, repeatable: Repeatable) -> None:
    """Tie the key to a generation that was just recorded, in the caller's transaction.

    Raises:
        AlreadySubmitted, IdempotencyKeyReused: the caller's transaction must be rolled back.
    """
    mine = IdempotencyKey.objects.filter(account_id=generation.account_id, key=repeatable.key)
    mine.filter(created_at__lte=oldest()).delete()
    row = IdempotencyKey(
        account_id=generation.account_id,
        key=repeatable.key,
        fingerprint=repeatable.fingerprint,
        generation=generation,
    )
    # The database lets a second insert wait until the first one's transaction is over, so only one stays.
    IdempotencyKey.objects.bulk_create([row], ignore_conflicts=True)
    first = find(generation.account, repeatable)
    if first != generation:
        raise AlreadySubmitted(first or generation)


def forget() -> None:
    """Remove the keys that are too old to matter."""
    IdempotencyKey.objects.filter(created_at__lte=oldest()).delete()


def oldest() -> datetime:
    return timezone.now() - LIFETIME
