"""Generations: one row a request, and the truth about it."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from accounts.models import ApiKey
from generation.params import Params


class Status(models.TextChoices):
    QUEUED = "queued"
    PROCESSING = "processing"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELED = "canceled"


LIVE = [Status.QUEUED, Status.PROCESSING]
FINAL = [Status.SUCCESS, Status.FAILED, Status.CANCELED]


class Generation(models.Model):
    """One request for images. States change only by the conditional UPDATEs of services.py; a final one never does."""

    account = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="generations")
    api_key = models.ForeignKey(ApiKey, null=True, on_delete=models.SET_NULL)
    status = models.CharField(max_length=10, choices=Status, default=Status.QUEUED)
    params = models.JSONField()  # generation.params.Params
    file_prefix = models.UUIDField(default=uuid.uuid4, unique=True)  # random: whoever knows it may see the images

    init_image_url = models.TextField(blank=True)  # as sent, when it was a link
    mask_image_url = models.TextField(blank=True)
    init_image_name = models.CharField(max_length=100, blank=True)  # in the "inputs" storage, once it is there
    mask_image_name = models.CharField(max_length=100, blank=True)
    inputs_ready = models.BooleanField()  # every link is fetched: a gpu worker may begin

    track_id = models.JSONField(null=True)  # the caller's own, echoed with its JSON type
    webhook_url = models.TextField(blank=True)

    held_credits = models.PositiveIntegerField()  # the price, set aside at submission
    charged_credits = models.PositiveIntegerField(default=0)  # what was delivered

    attempt = models.PositiveIntegerField(default=0)  # fencing: a worker writes only under the number it claimed
    lease_until = models.DateTimeField(null=True, blank=True)  # the claim lapses then unless renewed
    step = models.PositiveIntegerField(default=0)  # UNet steps done, for people watching
    model = models.CharField(max_length=200, blank=True)  # what made it
    model_revision = models.CharField(max_length=100, blank=True)
    vae = models.CharField(max_length=200, blank=True)
    nsfw = models.JSONField(default=list)  # one boolean an image: True was replaced by a blank one
    compute_seconds = models.FloatField(default=0)  # from claim to images
    message = models.TextField(blank=True)  # why it failed, for people

    created_at = models.DateTimeField(default=timezone.now)
    nudged_at = models.DateTimeField(default=timezone.now)  # when Redis was last told
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["account", "-id"]),
            models.Index(fields=["status", "id"], name="live_generations", condition=Q(status__in=LIVE)),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(status__in=Status.values), name="status_is_known"),
            models.CheckConstraint(
                condition=Q(status__in=FINAL, finished_at__isnull=False) | Q(status__in=LIVE, finished_at=None),
                name="finished_exactly_when_final",
            ),
            models.CheckConstraint(
                condition=~Q(status=Status.PROCESSING) | Q(lease_until__isnull=False), name="processing_has_a_lease"
            ),
            models.CheckConstraint(condition=Q(held_credits__gte=1), name="nothing_is_free"),
            models.CheckConstraint(condition=Q(charged_credits__lte=F("held_credits")), name="never_above_the_price"),
            models.CheckConstraint(
                condition=Q(status=Status.SUCCESS) | Q(charged_credits=0), name="only_success_is_charged"
            ),
        ]

    def __str__(self) -> str:
        return f"generation {self.pk}"

    @property
    def cause(self) -> str:
        """The name under which the ledger knows this generation."""
        return f"generation:{self.pk}"

    @property
    def parameters(self) -> Params:
        return Params.from_json(self.params)

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    def image_name(self, k: int) -> str:
        """Return the storage name of image `k`."""
        return f"generations/{self.file_prefix}-{k}.png"


class IdempotencyKey(models.Model):
    """What a caller submitted under a key of its own; written only by idempotency.py, and forgotten after a day."""

    account = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)  # SHA-256 of the body, hexadecimal
    generation = models.ForeignKey(Generation, on_delete=models.CASCADE)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["created_at"])]
        constraints = [models.UniqueConstraint(fields=["account", "key"], name="one_generation_per_idempotency_key")]

    def __str__(self) -> str:
        return f"{self.key} of {self.generation_id}"


class Delivery(models.Model):
    """One webhook to be sent, written with the end of its generation; delays are rows, so nothing sleeps or forgets."""

    class State(models.TextChoices):
        PENDING = "pending"
        DELIVERED = "delivered"  # answered 2xx: never sent again
        GIVEN_UP = "given up"

    generation = models.ForeignKey(Generation, on_delete=models.CASCADE, related_name="deliveries")
    event = models.UUIDField(default=uuid.uuid4, unique=True)  # the same on every attempt, so receivers can tell
    url = models.TextField()
    payload = models.BinaryField()  # JSON, frozen: every attempt sends the same bytes
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField(default=timezone.now)
    answer = models.CharField(max_length=200, blank=True)  # of the last attempt, for people
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "deliveries"
        indexes = [models.Index(fields=["due_at"], name="pending_deliveries", condition=Q(state="pending"))]
        constraints = [models.UniqueConstraint(fields=["generation"], name="one_delivery_per_generation")]

    def __str__(self) -> str:
        return f"webhook of {self.generation_id}: {self.state}"
