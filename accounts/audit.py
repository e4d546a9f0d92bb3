"""Who did what: signs the audit log's entries with the person behind the request, and notes what no model shows.

Changes that staff make of the models that settings.AUDITLOG_INCLUDE_TRACKING_MODELS names are kept by django-auditlog,
with before and after: it sees what is saved, as the admin does, and no UPDATE, by which most else is written. Its own
middleware would hold a thread for every waiting request, so this one is used.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from auditlog.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.db.models.signals import pre_save
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse

from accounts.addresses import client_address
from accounts.models import ApiKey, QuotaOverride, User

HELD = (ApiKey, QuotaOverride)  # rows of an account that the log follows

acting: ContextVar[HttpRequest | None] = ContextVar("acting", default=None)


def remember_the_request(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: let whatever is written in a request be signed by its person."""

    def handle(request: HttpRequest) -> HttpResponse:
        token = acting.set(request)
        try:
            return get_response(request)
        finally:
            acting.reset(token)

    return handle


@receiver(pre_save, sender=LogEntry)
def sign(instance: LogEntry, **_: Any) -> None:
    """Add the person and the address, both looked up only now that there is something to sign."""
    request = acting.get()
    if request is None or instance.actor_id:
        return
    instance.actor = person_behind(request)
    instance.actor_email = instance.actor.email if instance.actor else None
    instance.remote_addr = str(client_address(request) or "") or None


def person_behind(request: HttpRequest) -> User | None:
    """Return who is logged in; where staff act as somebody else, the member of staff."""
    history = request.session.get("hijack_history") if hasattr(request, "session") else None
    if history:
        return User.objects.filter(pk=history[0]).first()
    user = getattr(request, "user", None)
    return user if isinstance(user, User) and user.is_authenticated else None


def forget(user: User) -> None:
    """Take out of the log what it says of a closed account and from where it came; that something was done stays."""
    about = (
        (User, [user.pk]),
        *((held, list(held.objects.filter(user=user).values_list("pk", flat=True))) for held in HELD),
    )
    for model, pks in about:
        words = f"{model._meta.verbose_name} of closed account {user.pk}"
        LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(model), object_id__in=pks).update(
            object_repr=words, changes={}, changes_text=""
        )
    LogEntry.objects.filter(actor=user).update(actor_email=None, remote_addr=None)


def note(thing: Model, **changes: tuple[object, object]) -> None:
    """Write down what was done to a row that the log doesn't follow by itself: (before, after) by name."""
    LogEntry.objects.log_create(
        thing,
        action=LogEntry.Action.UPDATE,
        changes={name: [str(before), str(after)] for name, (before, after) in changes.items()},
        force_log=True,
    )
