"""Payments, whoever began them. Written only by billing/purchases.py."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from billing.models.catalog import Pack
from billing.models.subscription import Subscription
from billing.money import shown


class Purchase(models.Model):
    """One payment: what it buys, and what Stripe says about it.

    The row is written before Stripe is asked for money, and its id goes with everything that Stripe is told: it is the
    idempotency key, and whatever event comes first finds its way back. A month of a plan is asked for by Stripe itself;
    its row is written when the invoice is paid.
    """

    class Kind(models.TextChoices):
        CHECKOUT = "checkout", "Pack"  # paid by the customer on Stripe's page
        TOP_UP = "top_up", "Automatic top-up"  # charged by us while the customer is away
        MONTH = "month", "Month of a plan"  # an invoice of a subscription

    class Status(models.TextChoices):
        PENDING = "pending"
        PAID = "paid"  # final; what is given back afterwards is counted below
        FAILED = "failed"
        EXPIRED = "expired"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="purchases")
    kind = models.CharField(max_length=10, choices=Kind)
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    pack = models.ForeignKey(Pack, null=True, blank=True, on_delete=models.PROTECT)
    subscription = models.ForeignKey(Subscription, null=True, blank=True, on_delete=models.PROTECT)

    credits = models.PositiveIntegerField()  # what it buys: as it was for sale when this began
    price_cents = models.PositiveIntegerField()  # before tax and coupons
    currency = models.CharField(max_length=3)
    paid_cents = models.PositiveIntegerField(default=0)  # with tax and coupons
    refunded_cents = models.PositiveIntegerField(default=0)  # of paid_cents, in all refunds together
    disputed_cents = models.PositiveIntegerField(default=0)  # of paid_cents, withdrawn by the bank, lost or undecided
    taken_credits = models.PositiveIntegerField(default=0)  # of credits, taken back for the two above

    session_id = models.CharField(max_length=100, blank=True)  # cs_…
    session_url = models.TextField(blank=True)  # of the payment page, while one can pay there
    session_expires_at = models.DateTimeField(null=True, blank=True)
    payment_intent_id = models.CharField(max_length=100, blank=True)  # pi_…
    payment_method_id = models.CharField(max_length=100, blank=True)  # pm_…, of the card that a top-up charges
    charge_id = models.CharField(max_length=100, blank=True)  # ch_…
    invoice_id = models.CharField(max_length=100, blank=True)  # in_…
    receipt_url = models.TextField(blank=True)  # Stripe's page of the receipt or the invoice
    failure = models.CharField(max_length=200, blank=True)  # why it failed, for people

    revision = models.PositiveIntegerField(default=0)  # grows with every change: nothing older is written over it
    created_at = models.DateTimeField(default=timezone.now)
    paid_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["user", "-created_at"])]
        constraints = [
            models.UniqueConstraint(
                fields=["user", "pack"], condition=Q(kind="checkout", status="pending"), name="one_cart_per_pack"
            ),
            models.UniqueConstraint(
                fields=["user"], condition=Q(kind="top_up", status="pending"), name="one_running_top_up"
            ),
            *(
                models.UniqueConstraint(fields=[name], condition=~Q(**{name: ""}), name=f"one_purchase_per_{name}")
                for name in ("session_id", "payment_intent_id", "invoice_id")
            ),
            models.CheckConstraint(
                condition=Q(kind="month", pack=None, subscription__isnull=False) & ~Q(invoice_id="")
                | Q(kind__in=["checkout", "top_up"], pack__isnull=False, subscription=None, credits__gt=0),
                name="purchase_buys_a_pack_or_a_month",
            ),
            models.CheckConstraint(
                condition=Q(status="paid", paid_at__isnull=False)
                | Q(status__in=["pending", "failed", "expired"], paid_at=None),
                name="paid_at_exactly_when_paid",
            ),
            models.CheckConstraint(condition=Q(taken_credits__lte=F("credits")), name="never_takes_more_than_it_gave"),
            models.CheckConstraint(condition=Q(status="paid") | Q(taken_credits=0), name="only_paid_is_taken_back"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of {self.credits} credits, {self.state}"

    @property
    def cause(self) -> str:
        """The name of this purchase in the ledger."""
        return f"purchase:{self.pk}"

    @property
    def is_final(self) -> bool:
        return self.status != self.Status.PENDING

    @property
    def price(self) -> str:
        return shown(self.price_cents, self.currency)

    @property
    def paid(self) -> str:
        return shown(self.paid_cents, self.currency)

    @property
    def state(self) -> str:
        """The status for people, with what happened after the payment."""
        if self.disputed_cents:
            return "disputed"
        if self.refunded_cents:
            return "refunded" if self.refunded_cents >= self.paid_cents else "partly refunded"
        return self.get_status_display().lower()
