"""billing.notices: e-mails about money."""

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import transaction
from django.utils import timezone

from billing import jobs, notices
from billing.models import Notice
from config import nudges
from tests.conftest import Person


def test_a_notice_is_sent_once(bob: Person) -> None:
    notice = notices.write(bob.user, "top_up_off", reason="Your card was declined.")

    assert [notices.send(notice.pk), notices.send(notice.pk)] == [True, False]

    notice.refresh_from_db()
    assert (notice.sent_at is not None, notice.next_attempt_at) == (True, None)
    assert [message.to for message in mail.outbox] == [["bob@example.org"]]
    assert "http://127.0.0.1:8000/billing/top-up/" in mail.outbox[0].body


def test_a_notice_of_something_that_did_not_happen_is_not_sent(bob: Person) -> None:
    with transaction.atomic():
        notices.write(bob.user, "top_up_off", reason="no")
        transaction.set_rollback(True)

    assert not Notice.objects.exists()


def test_a_mail_server_that_is_away_is_tried_again_later_and_given_up_in_the_end(bob: Person, settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1  # nobody listens there
    notice = notices.write(bob.user, "top_up_off", reason="no")

    waits = []
    for _ in range(20):
        if notice.next_attempt_at is None:
            break
        Notice.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))
        assert notices.due() == [notice.pk]
        assert not notices.send(notice.pk)
        notice.refresh_from_db()
        waits.append(notice.next_attempt_at and round((notice.next_attempt_at - timezone.now()) / timedelta(minutes=1)))

    assert waits == [1, 5, 30, 120, 720, None]
    assert notice.sent_at is None
    assert notices.due() == []


@pytest.mark.django_db(transaction=True)
def test_the_sweep_finds_what_redis_lost(bob: Person) -> None:
    notice = notices.write(bob.user, "top_up_off", reason="no")
    io = nudges.named("io")
    assert [(job.func_name, job.args) for job in io.jobs] == [("billing.jobs.send_notice", [notice.pk])]
    io.empty()

    jobs.sweep()

    assert [(job.func_name, job.args) for job in io.jobs] == [("billing.jobs.send_notice", [notice.pk])]
