"""Who an account is at Stripe; the only module that writes Customer."""

import uuid

from accounts.models import User
from billing import gateway
from billing.models import Customer


def stripe_id(user: User) -> str:
    """Return the account's customer at Stripe, made now if there is none; asks Stripe, so outside transactions.

    Raises:
        GatewayUnavailable, GatewayRefused
    """
    customer, _ = Customer.objects.get_or_create(user=user)
    if not customer.stripe_id:
        found = gateway.create_customer(str(customer.reference), user.email)
        Customer.objects.filter(pk=customer.pk, stripe_id="").update(stripe_id=found)
        customer.refresh_from_db()
    return customer.stripe_id


def known_stripe_id(user: User) -> str:
    """Return the account's customer at Stripe, or nothing."""
    return Customer.objects.filter(user=user).values_list("stripe_id", flat=True).first() or ""


def cards(user: User) -> list[gateway.Card]:
    """Return the cards that the account has saved; asks Stripe, so outside transactions."""
    known = known_stripe_id(user)
    if not known:
        return []
    try:
        return gateway.cards(known)
    except gateway.NoSuchObject:  # deleted in Stripe's dashboard
        forget(user, known)
        return []


def forget(user: User, gone_stripe_id: str) -> None:
    """Note that Stripe's side was deleted, so that the next purchase makes a new customer."""
    gone = Customer.objects.filter(user=user, stripe_id=gone_stripe_id)
    gone.update(stripe_id="", reference=uuid.uuid4())
