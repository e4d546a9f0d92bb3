"""Who is asking: users, their API keys, and the plan that limits them."""

import base64
import hashlib
import secrets
import zoneinfo
from datetime import timedelta
from typing import Any, ClassVar

from allauth.account.models import EmailAddress
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone

from accounts.addresses import check_networks

KEY_PREFIX = "sk_"
WEBHOOK_SECRET_OVERLAP = timedelta(hours=24)


class LimitFields(models.Model):
    """What can be limited; accounts/quotas.py says what an empty one means."""

    largest_side_pixels = models.PositiveIntegerField(null=True, blank=True)
    most_steps = models.PositiveIntegerField(null=True, blank=True)  # num_inference_steps of one request
    most_samples = models.PositiveIntegerField(null=True, blank=True)  # images of one request
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True)  # submissions
    images_per_day = models.PositiveIntegerField(null=True, blank=True)  # calendar day where the account is
    images_per_month = models.PositiveIntegerField(null=True, blank=True)  # calendar month where the account is
    generations_at_once = models.PositiveIntegerField(null=True, blank=True)  # queued and running

    class Meta:
        abstract = True


class Plan(LimitFields):
    """What an account may ask for; an empty limit means no limit of the plan's own."""

    name = models.CharField(max_length=50, unique=True)
    output_days = models.PositiveIntegerField(null=True, blank=True)  # images are kept; 0: only for delivery
    input_days = models.PositiveIntegerField(null=True, blank=True)  # start images are kept; empty: the site's setting
    queue_weight = models.PositiveSmallIntegerField(
        default=1, validators=[MinValueValidator(1)]
    )  # share of the workers

    def __str__(self) -> str:
        return self.name


def trust_address(user: "User") -> None:
    """Count the address of an account that staff or a command made as confirmed; repeating it is safe."""
    EmailAddress.objects.filter(user=user).exclude(email=user.email).delete()
    EmailAddress.objects.update_or_create(user=user, email=user.email, defaults={"verified": True, "primary": True})


class Users(BaseUserManager["User"]):
    """Creates users for staff and commands; people sign up through allauth.

    Addresses are kept in lower case, so that one person has one account.
    """

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        trust_address(user)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email=(username or "").strip().lower())


def new_webhook_secret() -> str:
    """Return a secret in the form of Standard Webhooks: `whsec_` and 24 random bytes as base64."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()


def check_time_zone(name: str) -> None:
    """Raise ValidationError for what is no time zone."""
    if name not in zoneinfo.available_timezones():
        raise ValidationError("Choose a time zone by its name, like Europe/Berlin.")


class User(AbstractBaseUser, PermissionsMixin):
    """A customer or a member of staff; logs in with an e-mail address."""

    email = models.EmailField(unique=True)
    plan = models.ForeignKey(Plan, null=True, blank=True, on_delete=models.PROTECT)  # none: no limits
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    webhook_secret = models.CharField(max_length=60, default=new_webhook_secret, editable=False)  # Standard Webhooks
    previous_webhook_secret = models.CharField(max_length=60, blank=True, editable=False)  # signs as well, for a while
    webhook_secret_changed_at = models.DateTimeField(null=True, blank=True, editable=False)
    time_zone = models.CharField(max_length=50, default="UTC", validators=[check_time_zone])  # of its days and months
    joined_at = models.DateTimeField(default=timezone.now)
    suspended_at = models.DateTimeField(null=True, blank=True)  # until staff lift it: begins nothing, loses nothing
    suspension_reason = models.CharField(max_length=200, blank=True)  # shown to the account
    closed_at = models.DateTimeField(null=True, blank=True)  # by its owner: nobody can log in, nothing can be asked
    erased_at = models.DateTimeField(null=True, blank=True)  # every app has let go of what it held

    objects: ClassVar[Users] = Users()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"

    class Meta:
        constraints = [
            models.UniqueConstraint(Lower("email"), name="one_account_per_email"),
            models.CheckConstraint(
                condition=Q(suspended_at=None, suspension_reason="")
                | Q(suspended_at__isnull=False) & ~Q(suspension_reason=""),
                name="suspended_with_a_reason",
            ),
            models.CheckConstraint(condition=Q(closed_at=None) | Q(is_active=False), name="closed_is_not_active"),
        ]

    def __str__(self) -> str:
        return self.email

    @property
    def live_webhook_secrets(self) -> list[str]:
        """The newest first; the one before it signs for another day, so that receivers have time to change theirs."""
        changed_at = self.webhook_secret_changed_at
        is_young = changed_at is not None and timezone.now() < changed_at + WEBHOOK_SECRET_OVERLAP
        return [self.webhook_secret, self.previous_webhook_secret] if is_young else [self.webhook_secret]

    def rotate_webhook_secret(self) -> None:
        """Sign with a new secret from now on, and for another day with the present one as well."""
        changes = {
            "webhook_secret": new_webhook_secret(),
            "previous_webhook_secret": self.webhook_secret,
            "webhook_secret_changed_at": timezone.now(),
        }
        if User.objects.filter(pk=self.pk, webhook_secret=self.webhook_secret).update(**changes):
            self.refresh_from_db(fields=list(changes))

    @classmethod
    def normalize_username(cls, username: str) -> str:
        """Return the address as it is kept; every form that saves a user calls this."""
        return super().normalize_username(username).strip().lower()


def digest(secret: str) -> str:
    """Return the form in which a key is stored; a plain hash will do, since keys carry 256 random bits."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


class Scope(models.TextChoices):
    """What a key is good for."""

    GENERATE = "generate", "Make images, and read"
    READ = "read", "Only read"


class Keys(models.QuerySet["ApiKey"]):
    """Finds keys by their state."""

    def live(self) -> "Keys":
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()), revoked_at=None)


class ApiKey(models.Model):
    """A key for the API; the secret itself is shown once and never stored, and the row is never deleted.

    After a rotation the key has two secrets for a while. It is one key all the same: its limits, its spending and its
    history go on.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, unique=True)  # SHA-256 of the secret, hexadecimal
    last_four = models.CharField(max_length=4)
    created_at = models.DateTimeField(default=timezone.now)
    last_used_at = models.DateTimeField(null=True, blank=True)  # to the minute
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    scope = models.CharField(max_length=10, choices=Scope, default=Scope.GENERATE)
    spending_cap_credits = models.PositiveIntegerField(null=True, blank=True)  # a month of the account; none: no cap
    allowed_addresses = models.JSONField(default=list, blank=True, validators=[check_networks])  # none: from anywhere

    rotated_at = models.DateTimeField(null=True, blank=True)  # when `digest` became the key's
    previous_digest = models.CharField(max_length=64, null=True, blank=True, unique=True)
    previous_last_four = models.CharField(max_length=4, blank=True)
    previous_expires_at = models.DateTimeField(null=True, blank=True)  # the previous secret works until then
    previous_last_used_at = models.DateTimeField(null=True, blank=True)  # to the minute, since the rotation

    objects = Keys.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(scope__in=Scope.values), name="scope_is_known"),
            models.CheckConstraint(
                condition=Q(previous_digest=None) | Q(previous_expires_at__isnull=False),
                name="previous_secret_has_an_end",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} (…{self.last_four})"

    @property
    def state(self) -> str:
        """Return what the key is now: active, expired or revoked."""
        if self.revoked_at:
            return "revoked"
        return "expired" if self.expires_at and self.expires_at <= timezone.now() else "active"

    @property
    def previous_secret_works(self) -> bool:
        return bool(self.previous_expires_at and self.previous_expires_at > timezone.now() and self.previous_digest)

    @classmethod
    def create(cls, user: User, name: str, **fields: Any) -> tuple["ApiKey", str]:
        """Make a key and return it with its secret, which can't be had again."""
        key = cls(user=user, name=name, **fields)
        secret = key.set_secret()
        key.save()
        return key, secret

    def set_secret(self) -> str:
        """Give an unsaved key its secret and return it."""
        secret = KEY_PREFIX + secrets.token_urlsafe(32)
        self.digest, self.last_four = digest(secret), secret[-4:]
        return secret


class QuotaOverride(LimitFields):
    """Other limits for one account until a date, decided by staff; an empty limit stays the plan's."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="quota_overrides")
    reason = models.CharField(max_length=200)  # for staff
    ends_at = models.DateTimeField()
    created_by = models.ForeignKey(User, null=True, editable=False, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        indexes = [models.Index(fields=["user", "ends_at"])]

    def __str__(self) -> str:
        return f"{self.user} until {self.ends_at:%Y-%m-%d}: {self.reason}"


class Usage(models.Model):
    """How much an account used in one period; written only by accounts/quotas.py."""

    user = models.ForeignKey(User, on_delete=models.CASCADE)
    period = models.CharField(max_length=20)  # "2026-11", "2026-11-23" (the account's) or "2026-11-23T09:52" (UTC)
    count = models.PositiveIntegerField(default=0)  # images a month, images a day, requests a minute

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "period"], name="one_usage_per_period")]
        verbose_name_plural = "usage"

    def __str__(self) -> str:
        return f"{self.user}: {self.count} in {self.period}"


class KeySpending(models.Model):
    """What was charged or is held through one key in a month; written only by accounts/quotas.py."""

    api_key = models.ForeignKey(ApiKey, on_delete=models.CASCADE)
    period = models.CharField(max_length=7)  # "2026-11", the account's
    count = models.PositiveBigIntegerField(default=0)  # credits

    class Meta:
        constraints = [models.UniqueConstraint(fields=["api_key", "period"], name="one_spending_per_period")]
        verbose_name_plural = "key spending"

    def __str__(self) -> str:
        return f"{self.api_key}: {self.count} credits in {self.period}"


class Export(models.Model):
    """Everything that the site holds of an account, packed for its owner; written only by accounts/exports.py."""

    class State(models.TextChoices):
        WAITING = "waiting"
        RUNNING = "running"
        READY = "ready"
        FAILED = "failed"

    LIVE = (State.WAITING, State.RUNNING)

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="exports")
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    attempt = models.PositiveSmallIntegerField(default=0)  # a worker writes only under the number it claimed
    done = models.PositiveIntegerField(default=0)  # rows
    total = models.PositiveIntegerField(default=0)
    parts = models.JSONField(default=list)  # zip files: {"name": in the private storage, "bytes": …}
    created_at = models.DateTimeField(default=timezone.now)
    touched_at = models.DateTimeField(default=timezone.now)  # by the worker, or when one was last asked
    finished_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)  # removed then

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user"], condition=Q(state__in=["waiting", "running"]), name="one_export_at_a_time"
            ),
            # The workers have more urgent things to do than to pack for two people at once.
            models.UniqueConstraint(fields=["state"], condition=Q(state="running"), name="one_export_runs"),
            models.CheckConstraint(
                condition=~Q(state="ready") | Q(expires_at__isnull=False, finished_at__isnull=False),
                name="ready_export_expires",
            ),
        ]

    def __str__(self) -> str:
        return f"export {self.pk} of {self.user_id}: {self.state}"

    @property
    def is_live(self) -> bool:
        return self.state in self.LIVE

    @property
    def is_ready(self) -> bool:
        return bool(self.state == self.State.READY and self.expires_at and self.expires_at > timezone.now())
