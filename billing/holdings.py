"""What billing holds of an account, and what becomes of it when the account is closed."""

from accounts.holdings import Farewell, Holding, farewells, holdings
from accounts.models import User
from billing import events, gateway, subscriptions, top_ups
from billing.models import Customer, Entry, Notice, Purchase, Subscription, TopUp, Wallet

WORDS = (
    "Your plan ends now and no card is charged any more. Credits that are left end and are not paid back. The record of"
    " payments and credits is kept, without your name, as bookkeeping demands; your invoices stay at Stripe."
)


def register() -> None:
    holdings.extend(
        [
            Holding("wallet", lambda user: Wallet.objects.filter(user=user)),
            Holding("entries", lambda user: Entry.objects.filter(wallet__user=user)),
            Holding("purchases", lambda user: Purchase.objects.filter(user=user)),
            Holding("subscriptions", lambda user: Subscription.objects.filter(user=user)),
            Holding("top_up", lambda user: TopUp.objects.filter(user=user)),
            Holding("customer", lambda user: Customer.objects.filter(user=user)),
            Holding("notices", lambda user: Notice.objects.filter(user=user)),
        ]
    )
    farewells.append(Farewell(WORDS, erase))


def erase(user: User) -> None:
    """Take no more money from a closed account, and forget its card, its letters and its owner's name; asks Stripe.

    Raises:
        GatewayUnavailable, GatewayRefused: it must be tried again.
    """
    top_ups.forget(user)
    Notice.objects.filter(user=user).delete()
    events.forget(user)
    if gateway.is_on():
        subscriptions.end_all(user)
