"""Deliveries of events: signed, and as often and in what order a test likes."""

import json
from typing import Any

import pytest
import stripe

from tests.stripe_server import PretendStripe
from tests.stripe_server.account import API_VERSION


class Shop:
    """Checks signatures with the real SDK and keeps what it accepted."""

    def __init__(self, secret: str = "whsec_pretend") -> None:
        self.secret, self.answer, self.accepted = secret, 200, []

    def __call__(self, body: bytes, headers: dict[str, str]) -> int:
        try:
            event = stripe.Webhook.construct_event(body, headers["Stripe-Signature"], self.secret)
        except stripe.SignatureVerificationError:
            return 400
        if self.answer == 200:
            self.accepted.append(event.id)
        return self.answer


@pytest.fixture
def shop(server: PretendStripe) -> Shop:
    shop = Shop()
    server.send_webhooks_to(shop)
    return shop


@pytest.fixture
def ids(server: PretendStripe, client: Any) -> list[str]:
    """Three events."""
    for _ in range(3):
        client.customers.create({})
    return [event["id"] for event in server.webhooks.pending]


def test_events_wait_until_they_are_delivered(server: PretendStripe, shop: Shop, ids: list[str]) -> None:
    assert shop.accepted == []

    assert server.webhooks.deliver() == [200, 200, 200]

    assert shop.accepted == ids
    assert server.webhooks.pending == []


def test_they_come_as_often_and_in_what_order_a_test_likes(server: PretendStripe, shop: Shop, ids: list[str]) -> None:
    first, second, third = server.webhooks.pending

    server.webhooks.drop([second])
    server.webhooks.deliver([third, first], copies=2)
    server.webhooks.deliver([third])

    assert shop.accepted == [ids[2], ids[2], ids[0], ids[0], ids[2]]
    assert server.webhooks.pending == []


def test_what_is_refused_stays_pending(server: PretendStripe, shop: Shop, ids: list[str]) -> None:
    shop.answer = 500
    assert server.webhooks.deliver() == [500, 500, 500]

    shop.answer = 200
    server.webhooks.deliver_until_quiet()

    assert shop.accepted == ids


def test_several_secrets_sign_while_one_replaces_another(server: PretendStripe, shop: Shop, ids: list[str]) -> None:
    shop.secret = "whsec_new"
    assert server.webhooks.deliver() == [400, 400, 400]

    server.webhooks.secrets.append("whsec_new")

    assert server.webhooks.deliver() == [200, 200, 200]


def test_events_carry_what_stripes_do_and_can_be_asked_for(server: PretendStripe, client: Any) -> None:
    customer = client.customers.create({"name": "A"}).id
    client.customers.update(customer, {"name": "B"})

    created, updated = server.webhooks.pending
    assert (created["object"], created["api_version"], created["livemode"]) == ("event", API_VERSION, False)
    assert created["data"]["object"]["name"] == "A"
    assert updated["data"] == {
        "object": json.loads(str(client.customers.retrieve(customer))),
        "previous_attributes": {"name": "A"},
    }
    assert client.events.retrieve(updated["id"]).type == "customer.updated"
    assert [event.id for event in client.events.list({"types": ["customer.updated"]}).data] == [updated["id"]]


def test_deliveries_by_themselves_try_again(server: PretendStripe, shop: Shop, client: Any) -> None:
    import time

    shop.answer = 500
    server.webhooks.start()
    client.customers.create({})
    time.sleep(0.3)
    shop.answer = 200

    for _ in range(100):
        if shop.accepted:
            break
        time.sleep(0.05)
    assert len(shop.accepted) == 1
