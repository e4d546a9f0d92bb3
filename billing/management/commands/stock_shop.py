"""Puts example packs and plans on sale."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from accounts.models import Plan
from billing import gateway
from billing.models import Offer, Pack

PACKS = [("Small", 500, 500), ("Medium", 2200, 2000), ("Large", 6000, 5000)]  # credits, cents
FREE_LIMITS = {"requests_per_minute": 20, "generations_at_once": 4}
PLANS = [("Studio", 1500, 1200), ("Agency", 6000, 4000)]  # monthly credits, cents


class Command(BaseCommand):
    help = "Put example packs and plans on sale, to be changed in the admin; does nothing where something is for sale."

    def handle(self, *args: Any, **options: Any) -> None:
        if Pack.objects.exists() or Offer.objects.exists():
            self.stdout.write("There is something for sale already; nothing was changed.")
            return
        try:
            price_ids = [self.price_id(name, cents) for name, _, cents in PLANS]
        except (gateway.GatewayUnavailable, gateway.GatewayRefused) as error:
            raise CommandError(f"Stripe could not be told of the plans: {error}") from error
        with transaction.atomic():
            for name, credits, cents in PACKS:
                Pack.objects.create(name=name, credits=credits, price_cents=cents)
            Offer.objects.create(plan=plan("Free", **FREE_LIMITS), price_cents=0)
            for (name, credits, cents), price_id in zip(PLANS, price_ids, strict=True):
                Offer.objects.create(
                    plan=plan(name), monthly_credits=credits, price_cents=cents, stripe_price_id=price_id
                )
        self.stdout.write(f"{len(PACKS)} packs and {len(PLANS)} plans are for sale.")

    def price_id(self, name: str, cents: int) -> str:
        """Return the plan's price at Stripe, by which customers change plans, or nothing where cards are off."""
        return gateway.create_monthly_price(name, cents, settings.CURRENCY) if gateway.is_on() else ""


def plan(name: str, **limits: int) -> Plan:
    return Plan.objects.get_or_create(name=name, defaults=limits)[0]
