"""Shows what staff have to say above every page."""

from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from office.models import Announcement


def current() -> QuerySet[Announcement]:
    """Return what is to be shown now, newest first."""
    now = timezone.now()
    return Announcement.objects.filter(Q(ends_at=None) | Q(ends_at__gt=now), begins_at__lte=now)


def announcements(request: HttpRequest) -> dict[str, Any]:
    """Context processor: `announcements`, asked for only by a page that shows them, and `pretend_stripe_url`."""
    pretend = settings.STRIPE_API_BASE if settings.STRIPE == "fake" else ""
    return {"announcements": current, "pretend_stripe_url": pretend}
