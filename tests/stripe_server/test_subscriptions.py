"""Subscriptions and their invoices, as the real SDK sees them."""

from typing import Any

import pytest
import stripe

from tests.stripe_server import PretendStripe, cards

MONTH = 31 * 24 * 60 * 60


def test_a_checkout_begins_a_subscription_with_a_paid_invoice(client: Any, subscription: str) -> None:
    begun = client.subscriptions.retrieve(subscription, {"expand": ["latest_invoice"]})

    item, invoice = begun["items"].data[0], begun.latest_invoice
    assert (begun.status, item.price.unit_amount, item.quantity) == ("active", 1000, 1)
    assert 28 <= (item.current_period_end - item.current_period_start) / 86400 <= 31
    assert (invoice.status, invoice.amount_paid, invoice.billing_reason) == ("paid", 1000, "subscription_create")
    assert invoice.parent.subscription_details.subscription == subscription
    assert invoice.lines.data[0].period.to_dict() == {
        "start": item.current_period_start,
        "end": item.current_period_end,
    }
    [payment] = client.invoice_payments.list({"invoice": invoice.id}).data
    assert client.payment_intents.retrieve(payment.payment.payment_intent).amount_received == 1000


def test_a_renewal_is_a_new_paid_invoice_for_the_next_period(
    server: PretendStripe, client: Any, subscription: str
) -> None:
    before = server.world.all("subscription")[0]["items"]["data"][0]["current_period_end"]

    invoice = server.world.renew(subscription)

    assert (invoice["billing_reason"], invoice["status"]) == ("subscription_cycle", "paid")
    assert invoice["lines"]["data"][0]["period"]["start"] == before
    assert server.charged_cents == [1000, 1000]
    assert client.invoices.list({"subscription": subscription}).data[0].id == invoice["id"]


def test_a_failed_renewal_is_past_due_until_a_card_pays(server: PretendStripe, client: Any, subscription: str) -> None:
    customer = client.subscriptions.retrieve(subscription).customer
    server.world.change_card(customer, cards.DECLINED)

    invoice = server.world.renew(subscription)
    assert (invoice["status"], invoice["attempt_count"]) == ("open", 1)
    assert client.subscriptions.retrieve(subscription).status == "past_due"
    with pytest.raises(stripe.CardError):
        client.invoices.pay(invoice["id"])
    server.world.change_card(customer, cards.PAYS)
    client.invoices.pay(invoice["id"])

    assert client.subscriptions.retrieve(subscription).status == "active"
    assert server.charged_cents == [1000, 1000]
    types = [event["type"] for event in server.world.all("event")]
    assert types.count("invoice.payment_failed") == 2
    assert types[-3:] == ["invoice.paid", "invoice.payment_succeeded", "customer.subscription.updated"]


def test_a_dearer_plan_is_paid_at_once_and_a_cheaper_one_leaves_a_credit(
    server: PretendStripe, client: Any, subscription: str, plans: tuple[str, str]
) -> None:
    server.world.change_plan(subscription, plans[1])
    up = server.world.all("invoice")[-1]
    server.world.change_plan(subscription, plans[0])
    down = server.world.all("invoice")[-1]

    assert (up["billing_reason"], [line["amount"] for line in up["lines"]["data"]]) == (
        "subscription_update",
        [-1000, 3000],
    )
    assert (up["amount_paid"], down["total"], down["amount_paid"], down["status"]) == (2000, -2000, 0, "paid")
    assert client.customers.retrieve(up["customer"]).balance == -2000
    assert server.charged_cents == [1000, 2000]


def test_a_change_through_the_api_is_settled_only_when_asked(
    server: PretendStripe, client: Any, subscription: str, plans: tuple[str, str]
) -> None:
    item = server.world.all("subscription")[0]["items"]["data"][0]["id"]

    client.subscriptions.update(
        subscription, {"items": [{"id": item, "price": plans[1]}], "proration_behavior": "none"}
    )

    assert server.world.renew(subscription)["amount_paid"] == 3000


def test_a_canceled_subscription_ends_now_or_with_its_period(
    server: PretendStripe, client: Any, subscription: str
) -> None:
    client.subscriptions.update(subscription, {"cancel_at_period_end": True})
    assert client.subscriptions.retrieve(subscription).cancel_at_period_end
    ended = server.world.renew(subscription)

    assert (ended["status"], server.charged_cents) == ("canceled", [1000])
    assert server.world.all("event")[-1]["type"] == "customer.subscription.deleted"
    assert client.subscriptions.list({"customer": ended["customer"]}).data == []
    assert [row.id for row in client.subscriptions.list({"status": "all"}).data] == [subscription]
    with pytest.raises(stripe.InvalidRequestError):
        client.subscriptions.cancel(subscription)


def test_the_portal_wants_a_customer(client: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="Missing required param: customer"):
        client.billing_portal.sessions.create({})
