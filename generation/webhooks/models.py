"""What is told to whom, and every attempt to do so."""

import json
import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models import ApiKey

LOW_BALANCE_CREDITS = 100


def all_but_progress() -> list[str]:
    """Return what a new endpoint hears of."""
    return [Event.Type.SUCCESS, Event.Type.FAILED, Event.Type.CANCELED]


class Event(models.Model):
    """Something that happened to an account; written only by outbox.py, its words never changed, kept for a month.

    Ids grow in the order in which an account's events are committed, so they serve as cursors.
    """

    class Type(models.TextChoices):
        QUEUED = "queued"
        PROCESSING = "processing"
        SUCCESS = "success"
        FAILED = "failed"
        CANCELED = "canceled"
        BALANCE_LOW = "balance.low"
        PING = "ping"  # a test, asked for by the account holder

    account = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    generation = models.ForeignKey("generation.Generation", null=True, on_delete=models.CASCADE, related_name="events")
    type = models.CharField(max_length=20, choices=Type)
    data = models.TextField()  # JSON, frozen: what is sent is made of these very characters
    uid = models.UUIDField(default=uuid.uuid4, unique=True)  # the same on every attempt, so receivers can tell
    # Its generation was deleted: it is listed no more, and goes when nothing is still to be sent of it.
    is_forgotten = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [
            models.Index(fields=["account", "id"], name="events_of_an_account"),
            models.Index(fields=["created_at"], name="events_by_age"),
            models.Index(fields=["id"], name="forgotten_events", condition=Q(is_forgotten=True)),
        ]

    def __str__(self) -> str:
        return f"{self.type} of {self.generation_id or 'the account'}"

    @property
    def content(self) -> Any:
        """What `data` says."""
        return json.loads(self.data)

    @property
    def head(self) -> dict[str, str]:
        """What endpoints are told beside the data."""
        return {"id": self.message_id, "type": self.type, "timestamp": self.created_at.isoformat()}

    @property
    def message_id(self) -> str:
        return f"msg_{self.uid.hex}"


class Endpoint(models.Model):
    """An address that hears of everything that happens to an account, beside the `webhook` of single requests."""

    account = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="endpoints")
    url = models.CharField(max_length=2048)  # no more bytes than that either, for it is indexed
    events = models.JSONField(default=all_but_progress)  # values of Event.Type
    is_on = models.BooleanField(default=True)
    off_reason = models.CharField(max_length=200, blank=True)  # when it was switched off by its own answer
    low_balance_credits = models.PositiveIntegerField(default=LOW_BALANCE_CREDITS)  # balance.low: the balance is below
    low_balance_told_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "url"], name="one_endpoint_per_url")]

    def __str__(self) -> str:
        return self.url


class SilencedUrl(models.Model):
    """The `webhook` of requests under one key that answered 410 Gone: it is called no more under that key."""

    api_key = models.ForeignKey(ApiKey, on_delete=models.CASCADE)
    url = models.CharField(max_length=2048)  # no more bytes than that either, for it is indexed
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["api_key", "url"], name="silenced_once")]

    def __str__(self) -> str:
        return self.url


class Host(models.Model):
    """A host that is called, and how it fares; written only by circuits.py. It belongs to no account."""

    name = models.CharField(max_length=300, unique=True)  # "host:port"
    failures = models.PositiveIntegerField(default=0)  # in a row
    open_until = models.DateTimeField(null=True, blank=True)  # nothing is sent before; then a single probe
    served_at = models.DateTimeField(default=timezone.now)  # when a delivery was last taken: the longest unserved first

    def __str__(self) -> str:
        return self.name


class Delivery(models.Model):
    """One event to be told to one address; delays are rows, so nothing sleeps or forgets."""

    class State(models.TextChoices):
        PENDING = "pending"
        DELIVERED = "delivered"  # answered 2xx: never sent again
        GIVEN_UP = "given up"

    account = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="deliveries")
    generation = models.ForeignKey(
        "generation.Generation", null=True, on_delete=models.CASCADE, related_name="deliveries"
    )
    endpoint = models.ForeignKey(Endpoint, null=True, on_delete=models.CASCADE)  # none: the request's own `webhook`
    url = models.CharField(max_length=2048)
    host = models.ForeignKey(Host, on_delete=models.PROTECT)
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    attempts = models.PositiveIntegerField(default=0)  # begun
    attempts_before_resend = models.PositiveIntegerField(default=0)  # the delays grow anew from there
    due_at = models.DateTimeField(default=timezone.now)
    give_up_at = models.DateTimeField()  # an attempt from then on is the last
    leased_until = models.DateTimeField(null=True, blank=True)  # an attempt runs
    answer = models.CharField(max_length=200, blank=True)  # of the last attempt, for people
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "deliveries"
        indexes = [
            models.Index(fields=["host", "due_at"], name="pending_deliveries", condition=Q(state="pending")),
            models.Index(
                fields=["endpoint", "generation", "id"], name="deliveries_in_order", condition=Q(state="pending")
            ),
            models.Index(fields=["host"], name="running_deliveries", condition=Q(leased_until__isnull=False)),
            models.Index(fields=["account", "-id"], name="deliveries_of_an_account"),
            models.Index(fields=["account", "state", "-id"], name="deliveries_by_state"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["event", "endpoint"], name="told_once_to_each_endpoint"),
            models.UniqueConstraint(fields=["event"], name="told_once_to_the_caller", condition=Q(endpoint=None)),
            models.CheckConstraint(condition=Q(state__in=["pending", "delivered", "given up"]), name="state_is_known"),
            models.CheckConstraint(
                condition=Q(state="pending") | Q(leased_until=None), name="only_pending_is_attempted"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event} to {self.url}: {self.state}"


class Attempt(models.Model):
    """One request that was made, and what came back; written only by sending.py."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="log")
    number = models.PositiveIntegerField()
    began_at = models.DateTimeField()
    seconds = models.FloatField()  # until the answer, or until none was to be expected
    headers: "models.JSONField[dict[str, Any], dict[str, Any]]" = models.JSONField()  # as sent, but for the signature
    status = models.PositiveIntegerField(null=True)  # HTTP; none: there was no answer
    answer = models.TextField(blank=True)  # the beginning of its body, or why there is none

    class Meta:
        indexes = [models.Index(fields=["began_at"], name="attempts_by_age")]

    def __str__(self) -> str:
        return f"attempt {self.number} of {self.delivery_id}"
