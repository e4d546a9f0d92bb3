"""Generations: one row a request, and the truth about it."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.fields.json import KeyTextTransform
from django.utils import timezone

from accounts.models import ApiKey
from generation.params import Params
from generation.webhooks.models import Attempt, Delivery, Endpoint, Event, Host, SilencedUrl

__all__ = [
    "Attempt",
    "Delivery",
    "Endpoint",
    "Event",
    "Generation",
    "Host",
    "IdempotencyKey",
    "SilencedUrl",
    "SiteDay",
    "SummedDay",
    "UsageDay",
]


class Status(models.TextChoices):
    QUEUED = "queued"
    PROCESSING = "processing"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELED = "canceled"


LIVE = [Status.QUEUED, Status.PROCESSING]
FINAL = [Status.SUCCESS, Status.FAILED, Status.CANCELED]
HISTORY_INDEXES: list[tuple[list[str], str]] = [
    ([], "history"),
    (["status"], "history_by_status"),
    (["mode"], "history_by_mode"),
    (["api_key"], "history_by_key"),
    (["model"], "history_by_model"),
]


class Generation(models.Model):
    """One request for images. States change only by the conditional UPDATEs of services.py; a final one never does."""

    account = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="generations")
    api_key = models.ForeignKey(ApiKey, null=True, on_delete=models.SET_NULL)
    status = models.CharField(max_length=10, choices=Status, default=Status.QUEUED)
    params = models.JSONField()  # generation.params.Params
    mode = models.GeneratedField(  # generation.params.Mode, where an index can find it
        expression=KeyTextTransform("mode", "params"), output_field=models.CharField(max_length=10), db_persist=True
    )
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
    counted_on = models.DateField(null=True, blank=True)  # the account's day that its images count against

    attempt = models.PositiveIntegerField(default=0)  # fencing: a worker writes only under the number it claimed
    fetch_lease_until = models.DateTimeField(null=True, blank=True)  # somebody fetches its links until then
    lease_until = models.DateTimeField(null=True, blank=True)  # the claim lapses then unless renewed
    step = models.PositiveIntegerField(default=0)  # UNet steps done, for people watching
    model = models.CharField(max_length=200, blank=True)  # what made it, or failed to
    model_revision = models.CharField(max_length=100, blank=True)
    vae = models.CharField(max_length=200, blank=True)
    nsfw = models.JSONField(default=list)  # one boolean an image: True was replaced by a blank one
    blanked_images = models.PositiveSmallIntegerField(default=0)  # how many are True there
    compute_seconds = models.FloatField(default=0)  # from claim to images
    # Its share of the accelerator's time, which it has with others; of those made before it was noted, all that passed.
    accelerator_seconds = models.FloatField(default=0)
    message = models.TextField(blank=True)  # why it failed, for people
    # Another one that it makes again, and how far any channel of any pixel came out from the other's, 0 to 255.
    reproduces = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, related_name="reproductions")
    largest_difference = models.PositiveSmallIntegerField(null=True, blank=True)

    created_at = models.DateTimeField(default=timezone.now)
    expected_at = models.DateTimeField(null=True, blank=True)  # what callers were told at submission
    nudged_at = models.DateTimeField(default=timezone.now)  # when Redis was last told
    fetched_at = models.DateTimeField(null=True, blank=True)  # the links' images are here; none where there were none
    started_at = models.DateTimeField(null=True, blank=True)  # the latest claim
    computed_at = models.DateTimeField(null=True, blank=True)  # the images are made, and not yet stored
    finished_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)  # by its owner: shown to nobody but staff from then on
    images_expired_at = models.DateTimeField(null=True, blank=True)  # removed by retention.py
    inputs_expired_at = models.DateTimeField(null=True, blank=True)
    files_removed_at = models.DateTimeField(null=True, blank=True)  # the storage holds nothing of it any more

    class Meta:
        indexes = [
            # The history: newest first, all or by one filter; a page is a short walk along one of these.
            *(
                models.Index(fields=["account", *field, "-created_at", "-id"], name=name, condition=Q(deleted_at=None))
                for field, name in HISTORY_INDEXES
            ),
            models.Index(
                fields=["account", "-created_at", "-id"],
                name="history_blanked",
                condition=Q(deleted_at=None, blanked_images__gt=0),
            ),
            models.Index(fields=["account", "finished_at"], name="usage_of_an_account"),
            models.Index(fields=["finished_at"], name="usage_of_a_day"),
            # What expires, and whether anything uses an upload.
            models.Index(
                fields=["account", "finished_at"],
                name="images_kept",
                condition=Q(status=Status.SUCCESS, images_expired_at=None, deleted_at=None),
            ),
            models.Index(fields=["init_image_name"], name="uses_of_an_init_image", condition=~Q(init_image_name="")),
            models.Index(fields=["mask_image_name"], name="uses_of_a_mask", condition=~Q(mask_image_name="")),
            models.Index(
                fields=["deleted_at"],
                name="files_to_remove",
                condition=Q(deleted_at__isnull=False, files_removed_at=None),
            ),
            models.Index(fields=["status", "id"], name="live_generations", condition=Q(status__in=LIVE)),
            # Whose links were fetched in the last minutes.
            models.Index(
                fields=["fetch_lease_until"],
                name="links_fetched_lately",
                condition=Q(fetch_lease_until__isnull=False),
            ),
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

    def thumbnail_name(self, k: int) -> str:
        """Return the storage name of the small picture of image `k`."""
        return f"generations/{self.file_prefix}-{k}.webp"


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


class Sums(models.Model):
    """What was used on a day that is over, by model; written only by generation/usage.py."""

    day = models.DateField()  # UTC
    model = models.CharField(max_length=200, blank=True)  # empty: it never came to a model
    succeeded = models.PositiveIntegerField(default=0)  # generations
    failed = models.PositiveIntegerField(default=0)
    canceled = models.PositiveIntegerField(default=0)
    images = models.PositiveIntegerField(default=0)  # delivered: blanked ones don't count
    blanked_images = models.PositiveIntegerField(default=0)
    credits = models.PositiveBigIntegerField(default=0)  # charged
    latencies = models.JSONField(default=dict)  # of successes, from submission to end: bucket → how many

    class Meta:
        abstract = True


class UsageDay(Sums):
    """What one account used on a day, by key and model.

    It is a sum over the generations that ended on that day, kept because they may be a million and may be deleted.
    """

    account = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    api_key = models.ForeignKey(ApiKey, null=True, on_delete=models.SET_NULL)  # none: made on the site's own pages

    class Meta:
        indexes = [models.Index(fields=["account", "day"], name="usage_days")]

    def __str__(self) -> str:
        return f"{self.account_id} on {self.day}"


class SiteDay(Sums):
    """What all accounts used on a day, by model: a sum over its UsageDays, kept because they may be thousands."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=["day", "model"], name="one_sum_a_day_and_model")]

    def __str__(self) -> str:
        return f"{self.model or 'no model'} on {self.day}"


class SummedDay(models.Model):
    """A day whose sums are written, so that nobody writes them twice."""

    day = models.DateField(primary_key=True)  # UTC

    def __str__(self) -> str:
        return f"{self.day}"
