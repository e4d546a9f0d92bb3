"""Many clicks, workers and deliveries at the same instant: one cart, one charge, one grant."""

import json
from datetime import timedelta
from functools import partial
from threading import Event
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPRedirectHandler, build_opener

import pytest
from django.db import IntegrityError, transaction
from django.test import Client

from accounts.models import User
from billing import customers, gateway, ledger, purchases, subscriptions, top_ups, truth
from billing.models import Entry, Offer, Pack, Purchase, StripeEvent, Subscription
from tests.conftest import Person
from tests.racing import race
from tests.stripe_server import PretendStripe
from tests.stripe_server.webhooks import signature

pytestmark = pytest.mark.django_db(transaction=True)
SITE = "http://testserver"


@pytest.fixture(autouse=True)
def _quick_retries(stripe: PretendStripe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the SDK ask again at once when its key is in use by another thread."""
    monkeypatch.setattr(gateway, "RETRIES", 20)
    monkeypatch.setattr("stripe._http_client.HTTPClient.INITIAL_DELAY", 0.01)
    monkeypatch.setattr("stripe._http_client.HTTPClient.MAX_DELAY", 0.05)


class NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def press_pay(url: str) -> int:
    """Press the button of the pay page and return the status."""
    form = urlencode({"email": "bob@example.org", "card": "4242424242424242"}).encode()
    try:
        return int(build_opener(NoRedirects).open(url, form).status)
    except HTTPError as error:
        return error.code


def test_50_clicks_on_buy_make_one_charge(stripe: PretendStripe, bob: Person, pack: Pack) -> None:
    carts = race(50, lambda k: purchases.buy(bob.user, pack, SITE))

    assert {type(cart) for cart in carts} == {Purchase}
    [url] = {cart.session_url for cart in carts}  # type: ignore[union-attr]
    assert len(stripe.world.all("checkout.session")) == len(stripe.world.all("customer")) == 1

    assert set(race(50, lambda k: press_pay(url))) == {303}
    stripe.webhooks.deliver_until_quiet()

    assert stripe.charged_cents == [900]
    assert Purchase.objects.count() == 1
    assert bob.balance == 1000


def test_a_click_whose_rival_began_and_ended_at_that_instant_may_be_repeated(
    stripe: PretendStripe, bob: Person, pack: Pack, studio: Offer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise IntegrityError

    with monkeypatch.context() as patch:
        patch.setattr(Purchase.objects, "create", refuse)
        patch.setattr(Subscription.objects, "create", refuse)
        with pytest.raises(truth.Busy):
            purchases.buy(bob.user, pack, SITE)
        with pytest.raises(truth.Busy):
            subscriptions.subscribe(bob.user, studio, SITE)

    assert purchases.buy(bob.user, pack, SITE).session_url
    assert subscriptions.subscribe(bob.user, studio, SITE).session_url


def test_20_clicks_on_a_plan_begin_one_subscription(stripe: PretendStripe, bob: Person, studio: Offer) -> None:
    begun = race(20, lambda k: subscriptions.subscribe(bob.user, studio, SITE))

    [url] = {subscription.session_url for subscription in begun}  # type: ignore[union-attr]
    race(20, lambda k: press_pay(url))
    stripe.webhooks.deliver_until_quiet()

    assert stripe.charged_cents == [1000]
    assert Subscription.objects.count() == 1
    assert bob.balance == 400


@pytest.fixture
def topped_up(stripe: PretendStripe, bob: Person, pack: Pack) -> Person:
    """Bob with 1,000 credits, who wants 1,000 more below 100, up to ten times a day."""
    customer_id = customers.stripe_id(bob.user)
    page = gateway.open_card_page(customer_id, "usd", SITE, SITE)
    stripe.world.pay(page.rpartition("/")[2])
    ledger.grant(bob.user.pk, 1000, "test:bob")
    top_ups.turn_on(bob.user, 100, pack, 10, gateway.cards(customer_id)[0])
    return bob


def test_20_workers_crossing_the_line_make_one_charge(stripe: PretendStripe, topped_up: Person) -> None:
    def work(k: int) -> None:
        ledger.hold(topped_up.user.pk, 49, f"generation:{k}")  # the last ones cross the line
        top_ups.run(topped_up.user.pk)

    assert race(20, work) == [None] * 20
    stripe.webhooks.deliver_until_quiet()

    assert stripe.charged_cents == [900]
    assert topped_up.balance == 1000 - 20 * 49 + 1000


def test_a_charge_that_is_paid_while_another_worker_looks_is_not_made_again(
    stripe: PretendStripe, topped_up: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = topped_up.user.pk
    ledger.hold(user_id, 950, "generation:1")
    running = top_ups.begin(user_id)
    assert running
    read_balance = ledger.balance

    def balance_and_then_the_charge_is_paid(user_id: int) -> int:
        seen = read_balance(user_id)
        assert race(1, lambda k: top_ups.charge(running)) == [None]
        return seen

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "balance", balance_and_then_the_charge_is_paid)
        top_ups.run(user_id)
    top_ups.charge(running)

    assert stripe.charged_cents == [900]
    assert topped_up.balance == 1050


def test_20_workers_taking_up_a_charge_that_was_cut_off_make_one_charge(
    stripe: PretendStripe, topped_up: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.hold(topped_up.user.pk, 950, "generation:1")
    with monkeypatch.context() as patch:
        patch.setattr(gateway, "RETRIES", 0)
        gateway.connected.cache_clear()
        stripe.faults.lose("POST /v1/payment_intents")
        top_ups.run(topped_up.user.pk)
    gateway.connected.cache_clear()
    assert (stripe.charged_cents, topped_up.balance) == ([900], 50)
    monkeypatch.setattr(top_ups, "PATIENCE", timedelta(0))

    race(20, lambda k: top_ups.run(topped_up.user.pk))

    assert stripe.charged_cents == [900]
    assert topped_up.balance == 1050


def test_a_paid_month_and_a_generation_of_its_account_never_wait_for_each_other(
    stripe: PretendStripe, subscribed: Subscription, bob: Person
) -> None:
    ledger.grant(bob.user.pk, 10, "test:bob")
    [invoice] = stripe.world.all("invoice")
    is_held, is_written = Event(), Event()

    def begin_a_generation() -> None:
        with transaction.atomic():
            ledger.hold(bob.user.pk, 10, "generation:1")
            is_held.set()
            is_written.wait(0.5)  # the month is at its wallet by then
            User.objects.select_for_update(no_key=True).get(pk=bob.user.pk)  # as every event of an account does

    def write_the_month() -> None:
        is_held.wait()
        truth.settle(partial(subscriptions.read_invoice, str(invoice["id"])))
        is_written.set()

    assert race(2, lambda k: (begin_a_generation, write_the_month)[k]()) == [None, None]
    assert bob.balance == 400


def test_20_deliveries_of_one_event_at_once_credit_it_once(
    stripe: PretendStripe, bob: Person, bought: Purchase
) -> None:
    def send(body: bytes, headers: dict[str, str]) -> int:
        return (
            Client(raise_request_exception=False)
            .post("/stripe/webhook", body, content_type="application/json", headers=headers)
            .status_code
        )

    [event] = [event for event in stripe.webhooks.pending if event["type"] == "checkout.session.completed"]
    body = json.dumps(event).encode()

    statuses = race(20, lambda k: send(body, {"Stripe-Signature": signature(body, stripe.webhooks.secrets)}))

    assert set(statuses) == {200}
    assert StripeEvent.objects.count() == Entry.objects.count() == 1
    assert bob.balance == 1000


def test_events_of_one_payment_at_once_end_where_stripes_truth_is(
    stripe: PretendStripe, bob: Person, bought: Purchase
) -> None:
    charge = str(stripe.world.all("charge")[-1]["id"])
    for _ in range(3):
        stripe.world.refund(charge, 300)
    events = stripe.webhooks.pending

    race(len(events), lambda k: stripe.webhooks.deliver([events[k]]))
    stripe.webhooks.deliver_until_quiet()

    assert bob.balance == 0
    assert list(ledger.differences()) == []
