"""Seeing the site as a customer does, to help: django-hijack, bounded and written down."""

from typing import Any

from django.db.models import QuerySet
from django.dispatch import receiver
from django.http import Http404
from hijack.signals import hijack_ended, hijack_started
from hijack.views import AcquireUserView

from accounts import audit
from accounts.models import User


def may_impersonate(*, hijacker: User, hijacked: User | None) -> bool:
    """Let superusers act as customers: never as other staff, whose rights they would borrow."""
    is_customer = bool(hijacked and hijacked.is_active and not hijacked.is_staff)
    return is_customer and hijacker.is_staff and hijacker.is_superuser


class Acquire(AcquireUserView):
    """Begins it, and knows nobody by what is no number."""

    def get_object(self, queryset: QuerySet[User] | None = None) -> User:
        try:
            return super().get_object(queryset)
        except ValueError:
            raise Http404 from None


@receiver(hijack_started)
def note_start(hijacker: User, hijacked: User, **_: Any) -> None:
    audit.note(hijacked, impersonated_by=("–", hijacker))


@receiver(hijack_ended)
def note_end(hijacker: User, hijacked: User, **_: Any) -> None:
    audit.note(hijacked, impersonated_by=(hijacker, "–"))
