"""What Stripe told us. Written only by billing/events.py."""

from django.db import models
from django.utils import timezone


class StripeEvent(models.Model):
    """One event, kept as it came for a month; the row and what the event does are written in one transaction."""

    class Outcome(models.TextChoices):
        APPLIED = "applied"  # our rows say what Stripe says
        NOBODY = "nobody", "Nobody's"  # it is about something that was not begun here
        UNKNOWN = "unknown", "Unknown type"  # kept, and nothing done

    id = models.CharField(max_length=100, primary_key=True)  # evt_…
    type = models.CharField(max_length=100)
    object_id = models.CharField(max_length=100)
    outcome = models.CharField(max_length=10, choices=Outcome)
    payload = models.TextField()  # the body, letter by letter; empty once its time, or its customer's account, is over
    happened_at = models.DateTimeField()  # at Stripe
    received_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["object_id"]), models.Index(fields=["-received_at"])]

    def __str__(self) -> str:
        return f"{self.type} ({self.id})"
