"""A pretend Stripe: an HTTP server that answers the real SDK as Stripe would, and moves no money.

Each module is one noun of Stripe's API: the shape of its object, the calls that concern it, and what else can happen
to it. Field names and types are those of Stripe's public API reference. Nothing here imports the stripe package, so
the double and the SDK check each other.

    with pretend_stripe() as stripe:
        client = StripeClient("sk_test_pretend", base_addresses={"api": stripe.url})
        session = client.v1.checkout.sessions.create({...})
        stripe.world.pay(session.id)          # what a customer does on the pay page
        stripe.webhooks.deliver(copies=2)     # what Stripe then says, as often and in what order you like
"""

from tests.stripe_server.server import PretendStripe, pretend_stripe

__all__ = ["PretendStripe", "pretend_stripe"]
