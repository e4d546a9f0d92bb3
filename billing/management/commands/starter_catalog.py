"""Puts a first catalog on sale, to be edited in the admin."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from accounts.models import Plan
from billing import gateway
from billing.models import Offer, Pack

PACKS = (("Small", 500, 500), ("Medium", 1_200, 1_000), ("Large", 7_000, 5_000))  # name, credits, price in cents
PLANS = (  # name, monthly credits, price in cents, limits
    ("Free", 0, 0, {"requests_per_minute": 20, "images_per_month": 500, "generations_at_once": 2}),
    ("Studio", 2_000, 1_500, {"requests_per_minute": 60, "generations_at_once": 8}),
    ("Agency", 10_000, 5_900, {"requests_per_minute": 240, "generations_at_once": 32}),
)


class Command(BaseCommand):
    help = "Put three packs and three plans on sale where there are none yet; their numbers are only a beginning."

    def handle(self, *args: Any, **options: Any) -> None:
        if Pack.objects.exists() or Offer.objects.exists():
            self.stdout.write("Nothing was done: there are packs or plans already. Edit them in the admin.")
            return
        try:
            price_ids = {name: self.price_id(name, price_cents) for name, _, price_cents, _ in PLANS}
        except (gateway.GatewayUnavailable, gateway.GatewayRefused) as error:
            raise CommandError(f"Stripe could not be told of the plans: {error}") from error
        with transaction.atomic():
            for name, credits, price_cents in PACKS:
                Pack.objects.create(name=name, credits=credits, price_cents=price_cents)
            for name, credits, price_cents, limits in PLANS:
                plan, _ = Plan.objects.get_or_create(name=name, defaults=limits)
                Offer.objects.create(
                    plan=plan,
                    monthly_credits=credits,
                    price_cents=price_cents,
                    stripe_price_id=price_ids[name],
                )
        self.stdout.write(
            f"{len(PACKS)} packs and {len(PLANS)} plans are on sale, in {settings.CURRENCY}. New accounts begin on the "
            "Free plan. Edit everything in the admin."
        )

    def price_id(self, name: str, cents: int) -> str:
        """Return the plan's price at Stripe, by which customers change plans; nothing where cards are off."""
        return gateway.create_monthly_price(name, cents, settings.CURRENCY) if cents and gateway.is_on() else ""
