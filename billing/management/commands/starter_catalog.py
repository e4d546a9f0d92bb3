"""Puts a first catalog on sale, to be edited in the admin."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import transaction

from accounts.models import Plan
from billing.models import Offer, Pack

PACKS = (("Small", 500, 500), ("Medium", 1_200, 1_000), ("Large", 7_000, 5_000))  # name, credits, price in cents
PLANS = (  # name, monthly credits, price in cents, limits
    ("Free", 0, 0, {"requests_per_minute": 20, "images_per_month": 500, "generations_at_once": 2}),
    ("Studio", 2_000, 1_500, {"requests_per_minute": 60, "generations_at_once": 8}),
    ("Agency", 10_000, 5_900, {"requests_per_minute": 240, "generations_at_once": 32}),
)


class Command(BaseCommand):
    help = "Put three packs and three plans on sale where there are none yet; their numbers are only a beginning."

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        if Pack.objects.exists() or Offer.objects.exists():
            self.stdout.write("Nothing was done: there are packs or plans already. Edit them in the admin.")
            return
        for name, credits, price_cents in PACKS:
            Pack.objects.create(name=name, credits=credits, price_cents=price_cents)
        for name, credits, price_cents, limits in PLANS:
            plan, _ = Plan.objects.get_or_create(name=name, defaults=limits)
            Offer.objects.create(plan=plan, monthly_credits=credits, price_cents=price_cents)
        self.stdout.write(
            f"{len(PACKS)} packs and {len(PLANS)} plans are on sale, in {settings.CURRENCY}. New accounts begin on the "
            "Free plan. Edit everything in the admin."
        )
