"""A shop that takes cards, with the pretend Stripe behind it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client

from accounts.models import Plan
from billing import gateway
from billing.models import Offer, Pack, Purchase, Subscription
from tests.conftest import Person
from tests.stripe_server import PretendStripe, pretend_stripe

SECRET = "whsec_pretend"


@pytest.fixture
def stripe(db: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendStripe]:
    """The pretend Stripe, which delivers its events to our webhook when it is told to."""
    monkeypatch.setattr(gateway, "RETRIES", 0)
    with pretend_stripe(webhook_secrets=[SECRET]) as server:
        settings.STRIPE_SECRET_KEY = "sk_test_pretend"
        settings.STRIPE_API_BASE = server.url
        settings.STRIPE_WEBHOOK_SECRETS = [SECRET]
        client = Client(raise_request_exception=False)

        def send(body: bytes, headers: dict[str, str]) -> int:
            return client.post("/stripe/webhook", body, content_type="application/json", headers=headers).status_code

        server.send_webhooks_to(send)
        yield server


@pytest.fixture
def pack(db: None) -> Pack:
    return Pack.objects.create(name="Medium", credits=1000, price_cents=900, currency="usd")


@pytest.fixture
def studio(db: None) -> Offer:
    """A plan of 10 dollars and 400 credits a month; there is a free one too."""
    Offer.objects.create(plan=Plan.objects.create(name="Free"), price_cents=0, currency="usd")
    plan = Plan.objects.create(name="Studio")
    return Offer.objects.create(plan=plan, monthly_credits=400, price_cents=1000, currency="usd")


@pytest.fixture
def logged_in(db: None) -> Callable[[Person], Client]:
    """Return a function that logs a person in."""

    def log_in(person: Person) -> Client:
        client = Client(raise_request_exception=False)
        client.force_login(person.user)
        return client

    return log_in


@pytest.fixture
def bought(stripe: PretendStripe, bob: Person, pack: Pack) -> Purchase:
    """Bob's pack, paid at Stripe; its events are still on the way."""
    from billing import purchases

    purchase = purchases.buy(bob.user, pack, "http://testserver")
    stripe.world.pay(purchase.session_id)
    return purchase


@pytest.fixture
def subscribed(stripe: PretendStripe, bob: Person, studio: Offer) -> Subscription:
    """Bob's subscription, paid at Stripe; its events are still on the way."""
    from billing import subscriptions

    subscription = subscriptions.subscribe(bob.user, studio, "http://testserver")
    stripe.world.pay(subscription.session_id)
    return subscription


@pytest.fixture
def once_read(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Return a function that lets another process do something right after one of the gateway's functions first read.

    It returns the list that all answers are put into.
    """

    def arrange(name: str, happen: Callable[[], Any]) -> list[Any]:
        read, answers = getattr(gateway, name), []

        def read_and_then_it_happens(id: str) -> Any:
            answers.append(found := read(id))
            if len(answers) == 1:
                happen()
            return found

        monkeypatch.setattr(gateway, name, read_and_then_it_happens)
        return answers

    return arrange


def charge_of(stripe: PretendStripe) -> str:
    """Return the id of the latest charge."""
    return str(stripe.world.all("charge")[-1]["id"])
