"""Charges without the customer, refunds and disputes, as the real SDK sees them."""

from typing import Any

import pytest
import stripe

from tests.stripe_server import PretendStripe, cards
from tests.stripe_server.errors import Refused


@pytest.fixture
def customer(client: Any) -> str:
    return str(client.customers.create({"email": "alice@example.org"}).id)


def top_up(client: Any, customer: str, method: str, **options: Any) -> Any:
    body = {"amount": 900, "currency": "usd", "customer": customer, "payment_method": method}
    return client.payment_intents.create(body | {"confirm": True, "off_session": True}, options=options)


def test_a_saved_card_is_charged_without_its_owner(server: PretendStripe, client: Any, customer: str) -> None:
    method = client.payment_methods.attach("pm_card_visa", {"customer": customer})

    intent = top_up(client, customer, method.id)

    assert (intent.status, intent.amount_received, intent.customer) == ("succeeded", 900, customer)
    assert server.charged_cents == [900]


@pytest.mark.parametrize(
    ("method", "code", "decline_code"),
    [
        ("pm_card_chargeCustomerFail", "card_declined", "generic_decline"),
        ("pm_card_authenticationRequired", "authentication_required", "authentication_required"),
    ],
)
def test_a_refused_card_raises_the_sdks_card_error_with_the_payment_inside(
    server: PretendStripe, client: Any, customer: str, method: str, code: str, decline_code: str
) -> None:
    method = client.payment_methods.attach(method, {"customer": customer}).id

    with pytest.raises(stripe.CardError) as refused:
        top_up(client, customer, method)

    error = refused.value
    assert (error.http_status, error.code, error.error.decline_code) == (402, code, decline_code)
    assert (error.error.payment_intent.status, error.error.payment_method.id) == ("requires_payment_method", method)
    assert client.payment_intents.retrieve(error.error.payment_intent.id).last_payment_error.code == code
    assert server.charged_cents == []
    assert [event["type"] for event in server.world.all("event")][-2:] == [
        "charge.failed",
        "payment_intent.payment_failed",
    ]


def test_a_present_owner_can_approve_what_requires_it(server: PretendStripe, client: Any, customer: str) -> None:
    method = client.payment_methods.attach("pm_card_authenticationRequired", {"customer": customer}).id
    body = {"amount": 900, "currency": "usd", "customer": customer, "payment_method": method, "confirm": True}

    intent = client.payment_intents.create(body)
    assert (intent.status, intent.next_action.type) == ("requires_action", "use_stripe_sdk")
    server.world.authenticate(intent.id)

    assert client.payment_intents.retrieve(intent.id).status == "succeeded"
    assert server.charged_cents == [900]


def test_a_saved_card_can_turn_bad(server: PretendStripe, client: Any, customer: str) -> None:
    method = client.payment_methods.attach("pm_card_visa", {"customer": customer}).id
    server.world.change_card(customer, cards.NO_FUNDS)

    with pytest.raises(stripe.CardError, match="insufficient funds"):
        top_up(client, customer, method)


@pytest.fixture
def charge(client: Any, customer: str) -> str:
    method = client.payment_methods.attach("pm_card_visa", {"customer": customer}).id
    return str(top_up(client, customer, method).latest_charge)


def test_refunds_add_up_until_nothing_is_left(server: PretendStripe, client: Any, charge: str) -> None:
    client.refunds.create({"charge": charge, "amount": 300})
    halfway = client.charges.retrieve(charge)
    assert (halfway.amount_refunded, halfway.refunded) == (300, False)
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded amount"):
        client.refunds.create({"charge": charge, "amount": 601})
    server.world.refund(charge)

    whole = client.charges.retrieve(charge, {"expand": ["refunds"]})
    assert (whole.amount_refunded, whole.refunded) == (900, True)
    assert [refund.amount for refund in whole.refunds.data] == [600, 300]
    refunded = [event for event in server.world.all("event") if event["type"] == "charge.refunded"]
    assert [event["data"]["previous_attributes"]["amount_refunded"] for event in refunded] == [0, 300]
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.refunds.create({"charge": charge})
    assert refused.value.code == "charge_already_refunded"


@pytest.mark.parametrize(("won", "status"), [(True, "won"), (False, "lost")])
def test_a_dispute_is_opened_and_closed(
    server: PretendStripe, client: Any, charge: str, won: bool, status: str
) -> None:
    dispute = server.world.dispute(charge)
    assert client.disputes.retrieve(dispute["id"]).status == "needs_response"
    assert client.charges.retrieve(charge).disputed
    with pytest.raises(stripe.InvalidRequestError, match="charged back"):
        client.refunds.create({"charge": charge})

    server.world.close_dispute(dispute["id"], won)

    [listed] = client.disputes.list({"charge": charge}).data
    assert (listed.status, listed.amount) == (status, 900)
    said = [event["type"] for event in server.world.all("event") if "dispute" in event["type"]]
    assert said[:2] == ["charge.dispute.created", "charge.dispute.funds_withdrawn"]
    assert "charge.dispute.closed" in said
    with pytest.raises(Refused, match="closed"):
        server.world.close_dispute(dispute["id"], won)
