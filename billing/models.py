"""What an account may spend: a wallet, and the entries that explain it. Written only by billing/ledger.py."""

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q


class Wallet(models.Model):
    """The credits of one account."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, primary_key=True, on_delete=models.PROTECT)
    balance = models.BigIntegerField(default=0)  # credits to spend = sum of the entries' credits
    held = models.BigIntegerField(default=0)  # credits set aside for running work = sum of the entries' held_credits

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(balance__gte=0), name="balance_never_negative"),
            models.CheckConstraint(condition=Q(held__gte=0), name="held_never_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.balance} credits"


class Entries(models.QuerySet["Entry"]):
    """Entries to read and to add to."""

    def update(self, **changes: Any) -> int:
        raise TypeError("Ledger entries are never changed.")

    def delete(self) -> Any:
        raise TypeError("Ledger entries are never deleted.")


class Entry(models.Model):
    """One movement of credits; never changed, never deleted."""

    class Kind(models.TextChoices):
        GRANT = "grant"  # credits come in
        HOLD = "hold"  # set aside when work is submitted
        CAPTURE = "capture"  # spent: the work was delivered
        RELEASE = "release"  # given back: the work was not delivered

    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="entries")
    kind = models.CharField(max_length=10, choices=Kind)
    credits = models.BigIntegerField()  # change of the balance
    held_credits = models.BigIntegerField(default=0)  # change of what is held
    cause = models.CharField(max_length=200)  # "generation:5120041", "welcome:7", "grant:…": unique for its kind
    note = models.CharField(max_length=200, blank=True)  # for people
    created_at = models.DateTimeField(auto_now_add=True)

    objects = Entries.as_manager()

    class Meta:
        verbose_name_plural = "entries"
        indexes = [models.Index(fields=["wallet", "-id"])]
        constraints = [
            models.UniqueConstraint(fields=["cause", "kind"], name="one_entry_per_cause"),
            models.CheckConstraint(
                name="entry_moves_the_right_way",
                condition=Q(kind="grant", credits__gt=0, held_credits=0)
                | Q(kind="hold", credits__lt=0, held_credits=-F("credits"))
                | Q(kind="capture", credits=0, held_credits__lt=0)
                | Q(kind="release", credits__gt=0, held_credits=-F("credits")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.credits:+d} ({self.cause})"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.pk is not None:
            raise TypeError("Ledger entries are never changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("Ledger entries are never deleted.")
