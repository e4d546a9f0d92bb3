"""Checkout Sessions, as the real SDK sees them."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import stripe

from tests.stripe_server import PretendStripe, cards
from tests.stripe_server.conftest import PACK
from tests.stripe_server.errors import Refused

Checkout = Callable[..., Any]


def types(server: PretendStripe) -> list[str]:
    return [event["type"] for event in server.world.all("event")]


def test_a_payment_completes_its_session_and_says_so(server: PretendStripe, client: Any, checkout: Checkout) -> None:
    session = checkout(
        client_reference_id="7", metadata={"pack": "3"}, payment_intent_data={"metadata": {"order": "9"}}
    )
    assert (session.status, session.payment_status, session.payment_intent) == ("open", "unpaid", None)

    server.world.pay(session.id)

    paid = client.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent.latest_charge", "line_items"]})
    assert (paid.status, paid.payment_status, paid.amount_total, paid.currency) == ("complete", "paid", 900, "usd")
    assert (paid.client_reference_id, paid.metadata.to_dict(), paid.url) == ("7", {"pack": "3"}, None)
    assert paid.payment_intent.metadata.to_dict() == {"order": "9"}
    assert paid.payment_intent.latest_charge.receipt_url.startswith(server.url)
    assert [line.description for line in paid.line_items.data] == ["1,000 credits"]
    assert types(server) == [
        "product.created",
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "checkout.session.completed",
    ]
    assert server.charged_cents == [900]


def test_a_session_is_paid_once(server: PretendStripe, checkout: Checkout) -> None:
    session = checkout()
    server.world.pay(session.id)

    with pytest.raises(Refused, match="complete"):
        server.world.pay(session.id)

    assert server.charged_cents == [900]


def test_a_declined_card_leaves_the_session_open_for_another(
    server: PretendStripe, client: Any, checkout: Checkout
) -> None:
    session = checkout(customer_creation="always")

    with pytest.raises(Refused, match=r"Your card was declined\."):
        server.world.pay(session.id, cards.DECLINED)
    assert client.checkout.sessions.retrieve(session.id).status == "open"
    server.world.pay(session.id)

    assert server.charged_cents == [900]
    assert [charge["status"] for charge in server.world.all("charge")] == ["failed", "succeeded"]
    assert len(server.world.all("payment_intent")) == len(server.world.all("customer")) == 1
    assert "payment_intent.payment_failed" in types(server)


@pytest.mark.parametrize(
    ("paid", "status", "event"),
    [(True, "paid", "async_payment_succeeded"), (False, "unpaid", "async_payment_failed")],
)
def test_a_bank_debit_completes_first_and_pays_or_fails_later(
    server: PretendStripe, client: Any, checkout: Checkout, paid: bool, status: str, event: str
) -> None:
    session = server.world.pay(checkout().id, cards.BANK_DEBIT)
    assert (session["status"], session["payment_status"]) == ("complete", "unpaid")
    assert client.payment_intents.retrieve(session["payment_intent"]).status == "processing"
    assert server.charged_cents == []

    server.world.settle_bank_debit(session["id"], paid)

    assert client.checkout.sessions.retrieve(session["id"]).payment_status == status
    assert types(server)[-1] == f"checkout.session.{event}"
    assert server.charged_cents == [900] * paid


def test_a_session_expires_when_its_time_is_over_or_the_shop_says_so(
    server: PretendStripe, client: Any, checkout: Checkout
) -> None:
    early, late = checkout(), checkout(expires_at=int(time.time()) + 3600)

    client.checkout.sessions.expire(early.id)
    server.world.wait(3601)

    with pytest.raises(Refused, match="expired"):
        server.world.pay(late.id)
    assert types(server).count("checkout.session.expired") == 2
    with pytest.raises(stripe.InvalidRequestError, match="can be expired"):
        client.checkout.sessions.expire(early.id)


def test_a_card_can_be_saved_with_a_payment_or_alone(server: PretendStripe, client: Any, checkout: Checkout) -> None:
    customer = client.customers.create({"email": "alice@example.org"}).id
    buying = checkout(customer=customer, payment_intent_data={"setup_future_usage": "off_session"})
    saving = client.checkout.sessions.create(
        {"mode": "setup", "customer": customer, "success_url": "https://shop.example", "currency": "usd"}
    )

    server.world.pay(buying.id)
    server.world.pay(saving.id, cards.AUTHENTICATES)

    saved = client.customers.payment_methods.list(customer).data
    assert [method.card.last4 for method in saved] == ["3155", "4242"]
    intent = client.setup_intents.retrieve(client.checkout.sessions.retrieve(saving.id).setup_intent)
    assert (intent.status, intent.payment_method, intent.customer) == ("succeeded", saved[0].id, customer)


def test_tax_and_a_promotion_code_change_the_total(server: PretendStripe, client: Any, checkout: Checkout) -> None:
    coupon = client.coupons.create({"percent_off": 50})
    client.promotion_codes.create({"code": "HALF", "promotion": {"type": "coupon", "coupon": coupon.id}} | {})
    session = checkout(automatic_tax={"enabled": True}, allow_promotion_codes=True)

    paid = server.world.pay(session.id, code="half")

    assert paid["total_details"] == {"amount_discount": 450, "amount_shipping": 0, "amount_tax": 90}
    assert (paid["amount_subtotal"], paid["amount_total"], server.charged_cents) == (900, 540, [540])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"success_url": ""}, "Missing required param: success_url"),
        ({"line_items": ""}, "Missing required param: line_items"),
        ({"mode": "gift"}, "Invalid mode"),
        ({"customer": "cus_nobody"}, "No such customer: 'cus_nobody'"),
        ({"line_items": [{"price": "price_none", "quantity": 1}]}, "No such price: 'price_none'"),
        ({"line_items": [{"price_data": PACK}]}, "Quantity is required"),
        ({"line_items": [{"price_data": PACK | {"unit_amount": 49}, "quantity": 1}]}, "at least \\$0.50"),
        ({"expires_at": 1}, "at least 30 minutes"),
        ({"expires_at": 9999999999}, "less than 24 hours"),
        ({"client_reference_id": "x" * 201}, "at most 200 characters"),
        ({"color": "red"}, "Received unknown parameter: color"),
    ],
)
def test_a_wrong_session_is_refused_in_stripes_words(
    server: PretendStripe, checkout: Checkout, wrong: dict[str, Any], words: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError, match=words) as refused:
        checkout(**wrong)

    assert refused.value.http_status == 400
    assert server.world.all("checkout.session") == []
