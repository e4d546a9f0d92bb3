"""Who an account is at Stripe. Written only by billing/customers.py."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q


class Customer(models.Model):
    """One account's customer at Stripe; the row is there before Stripe is asked, so that asking twice makes one."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, primary_key=True, on_delete=models.PROTECT)
    reference = models.UUIDField(default=uuid.uuid4, unique=True)  # idempotency key
    stripe_id = models.CharField(max_length=100, blank=True)  # cus_…; empty until Stripe has answered
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["stripe_id"], condition=~Q(stripe_id=""), name="one_account_per_customer")
        ]

    def __str__(self) -> str:
        return self.stripe_id or "not known to Stripe yet"
