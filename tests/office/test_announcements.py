"""One line above every page, for a time."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError
from django.test import Client
from django.utils import timezone

from office.models import Announcement

NOW = timezone.now()


@pytest.mark.parametrize(
    ("begins", "ends", "is_shown"),
    [(-1, None, True), (-2, 1, True), (1, None, False), (-2, -1, False)],
)
def test_it_is_shown_in_its_time_alone(db: None, begins: int, ends: int | None, is_shown: bool) -> None:
    Announcement.objects.create(
        text="We move <house> on Sunday.",
        link_url="https://status.example.org/",
        tone="warning",
        begins_at=timezone.now() + timedelta(hours=begins),
        ends_at=None if ends is None else timezone.now() + timedelta(hours=ends),
    )

    page = Client().get("/").content.decode()

    assert ("We move &lt;house&gt; on Sunday." in page) == is_shown
    assert ('<a href="https://status.example.org/">More</a>' in page) == is_shown


def test_staff_write_it_in_the_admin(staff: Client) -> None:
    staff.post(
        "/admin/office/announcement/add/",
        {"text": "Hello", "tone": "news", "begins_at_0": "2026-01-01", "begins_at_1": "00:00"},
    )

    assert "Hello" in Client().get("/").content.decode()


def test_the_database_refuses_one_that_ends_before_it_begins(db: None) -> None:
    with pytest.raises(IntegrityError, match="announcement_ends_after_it_begins"):
        Announcement.objects.create(text="Hello", begins_at=timezone.now(), ends_at=timezone.now() - timedelta(1))


def test_billing_says_when_its_stripe_is_a_pretend_one(staff: Client, settings: Any) -> None:
    words = "pretend Stripe</a> here, and no money moves"
    assert words not in staff.get("/billing/").content.decode()

    settings.STRIPE, settings.STRIPE_API_BASE = "fake", "http://127.0.0.1:8001"

    assert words in staff.get("/billing/").content.decode()
    assert words not in staff.get("/account/").content.decode()
