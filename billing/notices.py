"""E-mails to customers about their money: recorded with what they tell of, sent by an io worker, tried again."""

import logging
import smtplib
from datetime import timedelta

from django.core.mail import send_mail
from django.db.models import F
from django.template.loader import render_to_string
from django.utils import timezone

from accounts.models import User
from billing import queue
from billing.models import Notice
from config.sites import site_url

logger = logging.getLogger(__name__)

PAUSES = [timedelta(minutes=minutes) for minutes in (1, 5, 30, 120, 720)]  # before the second attempt and so on
CLAIM = timedelta(minutes=2)  # an attempt that takes longer is taken for dead


def write(user: User, name: str, **context: object) -> Notice:
    """Record the e-mail of `templates/billing/mail/NAME.txt`, first line the subject; it is sent after the commit."""
    text = render_to_string(f"billing/mail/{name}.txt", {"site_url": site_url(), "user": user} | context)
    subject, _, body = text.strip().partition("\n")
    notice = Notice.objects.create(
        user=user, subject=subject.strip()[:200], body=body.strip() + "\n", next_attempt_at=timezone.now()
    )
    queue.ring("send_notice", notice.pk)
    return notice


def due() -> list[int]:
    """Return the notices whose time has come."""
    return list(Notice.objects.filter(next_attempt_at__lte=timezone.now()).values_list("pk", flat=True)[:100])


def send(pk: int) -> bool:
    """Send a notice that is due; tell whether this call did."""
    now = timezone.now()
    mine = Notice.objects.filter(pk=pk, next_attempt_at__lte=now)
    if not mine.update(attempts=F("attempts") + 1, next_attempt_at=now + CLAIM):
        return False
    notice = Notice.objects.select_related("user").get(pk=pk)
    try:
        send_mail(notice.subject, notice.body, None, [notice.user.email])
    except (OSError, smtplib.SMTPException) as error:
        logger.warning("Notice %s could not be sent (%s).", pk, error)
        again = PAUSES[notice.attempts - 1] if notice.attempts <= len(PAUSES) else None
        Notice.objects.filter(pk=pk).update(next_attempt_at=now + again if again else None)
        return False
    Notice.objects.filter(pk=pk).update(sent_at=timezone.now(), next_attempt_at=None)
    return True
