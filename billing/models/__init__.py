"""What billing keeps: one noun a file, each written by one module only."""

from billing.models.catalog import Offer, Pack
from billing.models.customer import Customer
from billing.models.event import StripeEvent
from billing.models.notice import Notice
from billing.models.purchase import Purchase
from billing.models.subscription import Subscription
from billing.models.top_up import TopUp
from billing.models.wallet import Entries, Entry, Wallet

__all__ = [
    "Customer",
    "Entries",
    "Entry",
    "Notice",
    "Offer",
    "Pack",
    "Purchase",
    "StripeEvent",
    "Subscription",
    "TopUp",
    "Wallet",
]
