"""What is for sale: packs of credits, and plans with credits every month. Edited by staff in the admin."""

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

from accounts.models import Plan
from billing.money import shown

CURRENCY = RegexValidator(r"^[a-z]{3}\Z", "A currency is three small letters, like usd.")


def default_currency() -> str:
    return str(settings.CURRENCY)


class Pack(models.Model):
    """Credits that are bought once. A change of the price touches nobody who has begun to pay the old one."""

    name = models.CharField(max_length=50)
    credits = models.PositiveIntegerField()
    price_cents = models.PositiveIntegerField(help_text="In the currency's smallest unit, before tax.")
    currency = models.CharField(max_length=3, default=default_currency, validators=[CURRENCY])
    is_active = models.BooleanField("on sale", default=True)

    class Meta:
        ordering = ["price_cents", "id"]
        constraints = [
            models.CheckConstraint(condition=Q(credits__gt=0), name="pack_has_credits"),
            models.CheckConstraint(condition=Q(price_cents__gt=0), name="pack_has_a_price"),
        ]

    def __str__(self) -> str:
        return f"{self.name}: {self.credits} credits for {self.price}"

    @property
    def price(self) -> str:
        return shown(self.price_cents, self.currency)


class Offer(models.Model):
    """A plan that accounts can subscribe to; the one that costs nothing is what everybody else is on."""

    plan = models.OneToOneField(Plan, on_delete=models.PROTECT)
    monthly_credits = models.PositiveIntegerField(default=0)
    price_cents = models.PositiveIntegerField(
        help_text="A month, in the currency's smallest unit, before tax. 0: the plan of accounts that don't pay."
    )
    currency = models.CharField(max_length=3, default=default_currency, validators=[CURRENCY])
    stripe_price_id = models.CharField(
        "Stripe price",
        max_length=100,
        blank=True,
        help_text="price_…, a monthly price of the same amount; customers can change between plans that have one.",
    )
    is_active = models.BooleanField("on sale", default=True)

    class Meta:
        ordering = ["price_cents", "id"]
        constraints = [
            models.UniqueConstraint(fields=["price_cents"], condition=Q(price_cents=0), name="one_free_offer"),
            models.UniqueConstraint(
                fields=["stripe_price_id"], condition=~Q(stripe_price_id=""), name="one_offer_per_stripe_price"
            ),
            models.CheckConstraint(
                condition=Q(price_cents__gt=0) | Q(monthly_credits=0, stripe_price_id=""),
                name="what_is_free_has_no_credits",
            ),
        ]

    def __str__(self) -> str:
        return self.plan.name

    @property
    def price(self) -> str:
        return shown(self.price_cents, self.currency)
