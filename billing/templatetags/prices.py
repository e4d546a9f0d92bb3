"""What the catalog says, for pages that sell nothing themselves."""

from dataclasses import dataclass

from django import template
from django.conf import settings
from django.db.models import QuerySet

from billing import gateway
from billing.models import Offer, Pack

register = template.Library()


@dataclass(frozen=True)
class Prices:
    """What is on sale, the cheapest first; nothing where no cards are taken."""

    packs: QuerySet[Pack]
    offers: QuerySet[Offer]
    welcome_credits: int
    image_credits: int  # for one of 512 × 512 from words, at 31 steps

    @property
    def are_there(self) -> bool:
        return bool(self.packs) or any(offer.price_cents for offer in self.offers)


@register.simple_tag
def prices() -> Prices:
    """Return what is on sale: `{% prices as catalog %}`."""
    packs, offers = Pack.objects.filter(is_active=True), Offer.objects.filter(is_active=True).select_related("plan")
    if not gateway.is_on():
        packs, offers = packs.none(), offers.none()
    return Prices(packs, offers, settings.WELCOME_CREDITS, settings.DEFAULT_IMAGE_CREDITS)


@register.filter
def images(credits: int) -> int:
    """Return how many images of 512 × 512 the credits buy."""
    return credits // settings.DEFAULT_IMAGE_CREDITS
