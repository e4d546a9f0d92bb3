"""Subscriptions to plans. Written only by billing/subscriptions.py."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from billing.models.catalog import Offer


class Subscription(models.Model):
    """One account's subscription; the row is there before Stripe is asked, and its id goes with everything."""

    class Status(models.TextChoices):
        STARTING = "starting"  # ours: the customer is on the way to Stripe's page
        ABANDONED = "abandoned"  # ours: and never came to its end
        INCOMPLETE = "incomplete"  # from here on Stripe's own words
        INCOMPLETE_EXPIRED = "incomplete_expired"
        TRIALING = "trialing"
        ACTIVE = "active"
        PAST_DUE = "past_due"
        UNPAID = "unpaid"
        PAUSED = "paused"
        CANCELED = "canceled"

    PAYING = (Status.ACTIVE, Status.TRIALING)  # has the plan
    OWING = (Status.PAST_DUE, Status.UNPAID, Status.PAUSED)  # has the free plan until it is paid
    LIVE = (*PAYING, *OWING, Status.INCOMPLETE)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="subscriptions")
    offer = models.ForeignKey(Offer, on_delete=models.PROTECT)
    status = models.CharField(max_length=20, choices=Status, default=Status.STARTING)
    stripe_id = models.CharField(max_length=100, blank=True)  # sub_…
    session_id = models.CharField(max_length=100, blank=True)  # cs_…
    session_url = models.TextField(blank=True)
    session_expires_at = models.DateTimeField(null=True, blank=True)
    current_period_end = models.DateTimeField(null=True, blank=True)
    cancels_at_period_end = models.BooleanField(default=False)
    revision = models.PositiveIntegerField(default=0)  # grows with every change: nothing older is written over it
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["user", "-created_at"])]
        constraints = [
            models.UniqueConstraint(fields=["user"], condition=Q(status="starting"), name="one_starting_subscription"),
            models.UniqueConstraint(
                fields=["stripe_id"], condition=~Q(stripe_id=""), name="one_row_per_stripe_subscription"
            ),
            models.CheckConstraint(
                condition=Q(status__in=["starting", "abandoned"]) | ~Q(stripe_id=""),
                name="what_stripe_says_has_its_id",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.offer}, {self.get_status_display().lower()}"
