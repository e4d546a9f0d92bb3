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
    owed = models.BigIntegerField(default=0)  # taken back after they were spent = sum of the entries' owed_credits
    monthly = models.BigIntegerField(default=0)  # plan credits that were there right after the last month's came

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(balance__gte=0), name="balance_never_negative"),
            models.CheckConstraint(condition=Q(held__gte=0), name="held_never_negative"),
            models.CheckConstraint(condition=Q(owed__gte=0), name="owed_never_negative"),
            models.CheckConstraint(condition=Q(monthly__gte=0), name="monthly_never_negative"),
            # Whatever comes in pays what is owed first.
            models.CheckConstraint(condition=Q(balance=0) | Q(owed=0), name="owes_only_with_an_empty_balance"),
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
        MONTH = "month"  # a plan's credits come in
        EXPIRE = "expire"  # plan credits that don't roll over
        TAKE_BACK = (
            "take_back",
            "Taken back",
        )  # the payment was refunded or disputed: from the balance, the rest is owed
        REPAY = "repay", "Repaid"  # part of what came in, taken for what is owed

    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="entries")
    kind = models.CharField(max_length=10, choices=Kind)
    credits = models.BigIntegerField()  # change of the balance
    held_credits = models.BigIntegerField(default=0)  # change of what is held
    owed_credits = models.BigIntegerField(default=0)  # change of what is owed
    cause = models.CharField(max_length=200)  # "generation:5120041", "purchase:…", "grant:…": unique for its kind
    note = models.CharField(max_length=200, blank=True)  # for people
    created_at = models.DateTimeField(auto_now_add=True)

    objects = Entries.as_manager()

    class Meta:
        verbose_name_plural = "entries"
        indexes = [
            models.Index(fields=["wallet", "-id"]),
            # Where a month begins, and what was spent a day without a look at the rows.
            models.Index(fields=["wallet", "created_at", "kind", "held_credits"], name="entries_of_a_time"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["cause", "kind"], name="one_entry_per_cause"),
            models.CheckConstraint(
                name="entry_moves_the_right_way",
                condition=Q(kind__in=["grant", "month"], credits__gt=0, held_credits=0, owed_credits=0)
                | Q(kind="hold", credits__lt=0, held_credits=-F("credits"), owed_credits=0)
                | Q(kind="capture", credits=0, held_credits__lt=0, owed_credits=0)
                | Q(kind="release", credits__gt=0, held_credits=-F("credits"), owed_credits=0)
                | Q(kind="expire", credits__lt=0, held_credits=0, owed_credits=0)
                | Q(kind="take_back", credits__lte=0, held_credits=0, owed_credits__gte=0)
                & Q(credits__lt=F("owed_credits"))
                | Q(kind="repay", credits__lt=0, held_credits=0, owed_credits=F("credits")),
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
