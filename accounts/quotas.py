"""The one place that says how much an account may do; the only module that writes Usage.

A counter is taken by one conditional UPDATE inside the caller's transaction, so racing requests never pass a limit,
and a request that is refused for another reason gives back what it took.
"""

from datetime import datetime

from django.db.models import F
from django.utils import timezone

from accounts.models import Usage, User

LARGEST_SIDE_PIXELS = 1024


class RateLimited(Exception):
    """Too many requests in this minute."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"Try again in {retry_after_seconds} seconds.")
        self.retry_after_seconds = retry_after_seconds


class QuotaExceeded(Exception):
    """The month's images are used up."""


def largest_side_pixels(user: User) -> int:
    """Return the longest side that the account may ask for."""
    return user.plan.largest_side_pixels if user.plan else LARGEST_SIDE_PIXELS


def admit(user: User, images: int) -> None:
    """Count one request and its images, in the caller's transaction.

    Raises:
        RateLimited, QuotaExceeded: the caller's transaction must be rolled back.
    """
    if user.plan is None:
        return
    now = timezone.now()
    if not take(user, now.strftime("%Y-%m-%dT%H:%M"), 1, user.plan.requests_per_minute):
        raise RateLimited(retry_after_seconds=60 - now.second)
    if not take(user, month(now), images, user.plan.images_per_month):
        raise QuotaExceeded


def give_back(user_id: int, images: int, at: datetime) -> None:
    """Return images that were counted at `at` and not delivered, in the caller's transaction."""
    Usage.objects.filter(user_id=user_id, period=month(at), count__gte=images).update(count=F("count") - images)


def month(at: datetime) -> str:
    """Return the name of the calendar month, UTC."""
    return at.strftime("%Y-%m")


def take(user: User, period: str, amount: int, limit: int | None) -> bool:
    """Add `amount` to the period's counter if it stays within `limit`, if there is one; tell whether it did."""
    if limit is None:
        return True
    Usage.objects.bulk_create([Usage(user=user, period=period)], ignore_conflicts=True)
    mine = Usage.objects.filter(user=user, period=period, count__lte=limit - amount)
    return bool(mine.update(count=F("count") + amount))
