"""Automatic top-ups. Written only by billing/top_ups.py."""

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from billing.models.catalog import Pack

MOST_A_DAY = 10


class TopUp(models.Model):
    """What an account wants bought when its balance falls under a line; off until the customer turns it on."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, primary_key=True, on_delete=models.CASCADE)
    is_on = models.BooleanField(default=False)
    threshold_credits = models.PositiveIntegerField(default=100)  # buys when fewer can be spent
    pack = models.ForeignKey(Pack, null=True, blank=True, on_delete=models.PROTECT)
    most_a_day = models.PositiveSmallIntegerField(
        default=1, validators=[MinValueValidator(1), MaxValueValidator(MOST_A_DAY)]
    )  # in any 24 hours
    payment_method_id = models.CharField(max_length=100, blank=True)  # pm_…, chosen by the customer
    card = models.CharField(max_length=50, blank=True)  # for people: "Visa ending in 4242"
    off_reason = models.CharField(max_length=200, blank=True)  # why we turned it off, for people
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(is_on=False) | Q(pack__isnull=False, off_reason="") & ~Q(payment_method_id=""),
                name="top_up_on_has_pack_and_card",
            ),
            models.CheckConstraint(
                condition=Q(most_a_day__gte=1, most_a_day__lte=MOST_A_DAY), name="top_up_has_a_daily_limit"
            ),
        ]

    def __str__(self) -> str:
        return f"below {self.threshold_credits} credits" if self.is_on else "off"
