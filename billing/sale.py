"""What packs and plans have in common on the way to Stripe's page."""

from datetime import timedelta

PAGE_LIFE = timedelta(hours=23)  # of a payment page; Stripe's longest is 24
UNUSED_LIFE = timedelta(hours=1)  # what never got a page is given up then, long before its key is forgotten
TRIES = 4


class NotForSale(Exception):
    """The pack or the plan is not on sale, or there is no free plan to fall back to from one that is paid."""
