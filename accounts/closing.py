"""Closes an account for its owner: the door at once, and then, by an io worker, everything that is held behind it.

The row itself stays, without a name: the ledger's entries belong to it.
"""

import logging
from datetime import timedelta
from uuid import uuid4

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.utils import timezone

from accounts import audit, exports, queue
from accounts.holdings import Farewell, NotYet, farewells
from accounts.models import ApiKey, User, new_webhook_secret

logger = logging.getLogger(__name__)

LONGEST_REQUEST = timedelta(minutes=5)  # what came in before the door was shut is written down by then


@transaction.atomic
def close(user: User) -> None:
    """Shut everybody out of the account, and let a worker erase what it holds; repeating it changes nothing."""
    now = timezone.now()
    closed = User.objects.filter(pk=user.pk, closed_at=None).update(
        closed_at=now,
        is_active=False,
        email=f"{uuid4().hex}@closed.invalid",  # nobody can have taken it
        password=make_password(None),
        webhook_secret=new_webhook_secret(),
        previous_webhook_secret="",
        webhook_secret_changed_at=None,
    )
    if not closed:
        return
    ApiKey.objects.filter(user=user, revoked_at=None).update(revoked_at=now)
    for session in UserSession.objects.filter(user=user):
        session.end()
    for held in (UserSession, EmailAddress, Authenticator):
        held.objects.filter(user=user).delete()
    queue.ring_erasure(user.pk)


def erase(pk: int) -> None:
    """Let every app let go of what it holds of a closed account; doing it twice does no harm.

    It is done again until no request from before the closing can add anything.
    """
    user = User.objects.filter(pk=pk, closed_at__isnull=False, erased_at=None).first()
    if user is None:
        return
    exports.delete(user.exports.all())
    audit.forget(user)
    gone = [has_gone(farewell, user) for farewell in farewells]
    if not all(gone):
        return
    now = timezone.now()
    if User.objects.filter(pk=pk, closed_at__lte=now - LONGEST_REQUEST).update(erased_at=now):
        logger.info("Account %s is erased.", pk)


def has_gone(farewell: Farewell, user: User) -> bool:
    """Let one app erase its part, and tell whether it could; one that can't yet keeps no other from it."""
    try:
        farewell.erase(user)
    except NotYet as reason:
        logger.info("Account %s is not erased yet: %s", user.pk, reason)
    except Exception:  # the edge of the job: the sweep tries again
        logger.exception("A part of account %s could not be erased.", user.pk)
    else:
        return True
    return False


def due() -> list[int]:
    """Return the closed accounts that still hold something."""
    return list(User.objects.filter(closed_at__isnull=False, erased_at=None).values_list("pk", flat=True)[:100])
