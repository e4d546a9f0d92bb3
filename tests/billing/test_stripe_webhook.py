"""POST /stripe/webhook"""

import json
import time
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from billing import events, gateway, ledger, purchases, reconciliation
from billing.models import Entry, Notice, Purchase, StripeEvent, Subscription
from tests.billing.conftest import SECRET, charge_of
from tests.conftest import Person
from tests.stripe_server import PretendStripe
from tests.stripe_server.webhooks import signature

Post = Callable[..., Any]


@pytest.fixture
def post(db: None) -> Post:
    """Return a function that posts a body as Stripe would."""

    def send(body: bytes, secrets: list[str] | None = None, at: float | None = None, **headers: str) -> Any:
        headers = {"Stripe-Signature": signature(body, secrets or [SECRET], at)} | headers
        return Client(raise_request_exception=False).post(
            "/stripe/webhook", body, content_type="application/json", headers=headers
        )

    return send


@pytest.fixture
def event(stripe: PretendStripe, bought: Purchase) -> dict[str, Any]:
    """The event of Bob's payment, unsent."""
    return next(event for event in stripe.webhooks.pending if event["type"] == "checkout.session.completed")


def as_body(event: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps(event | changes).encode()


def nothing_was_written(purchase: Purchase) -> bool:
    before = purchase.revision, purchase.status
    purchase.refresh_from_db()
    rows = StripeEvent.objects.exists() or Entry.objects.exists() or Notice.objects.exists()
    return not rows and (purchase.revision, purchase.status) == before == (0, "pending")


def test_a_payment_is_credited_and_its_event_kept_letter_by_letter(
    post: Post, event: dict[str, Any], bought: Purchase, bob: Person
) -> None:
    body = as_body(event)

    answer = post(body)

    kept = StripeEvent.objects.get()
    bought.refresh_from_db()
    assert (answer.status_code, answer.content) == (200, b"applied\n")
    assert (kept.pk, kept.type, kept.outcome) == (event["id"], "checkout.session.completed", "applied")
    assert (kept.object_id, kept.payload) == (bought.session_id, body.decode())
    assert (bought.status, bob.balance) == ("paid", 1000)


def test_a_second_delivery_does_nothing(post: Post, event: dict[str, Any], bob: Person) -> None:
    answers = [post(as_body(event)).content for _ in range(3)]

    assert answers == [b"applied\n", b"duplicate\n", b"duplicate\n"]
    assert bob.balance == 1000
    assert StripeEvent.objects.count() == 1


@pytest.mark.parametrize(
    "forge",
    [
        lambda body: {"Stripe-Signature": ""},
        lambda body: {"Stripe-Signature": "t=1,v1="},
        lambda body: {"Stripe-Signature": "nonsense"},
        lambda body: {"Stripe-Signature": f"t={int(time.time())},v1={'0' * 64}"},
        lambda body: {"Stripe-Signature": f"t={int(time.time())},v0={'0' * 64}"},
        lambda body: {"Stripe-Signature": signature(body + b" ", [SECRET])},
        lambda body: {"Stripe-Signature": signature(body, ["whsec_of_somebody_else"])},
        lambda body: {"Stripe-Signature": signature(body, [""])},
        lambda body: {"Stripe-Signature": "t=é,v1=ü"},
    ],
)
def test_a_forged_signature_is_refused(post: Post, event: dict[str, Any], bought: Purchase, forge: Any) -> None:
    body = as_body(event)

    answer = post(body, **forge(body))

    assert answer.status_code == 400
    assert nothing_was_written(bought)


def test_an_old_message_is_refused(post: Post, event: dict[str, Any], bought: Purchase) -> None:
    assert post(as_body(event), at=time.time() - 301).status_code == 400
    assert nothing_was_written(bought)
    assert post(as_body(event), at=time.time() - 200).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"\xff\xfe not utf-8",
        b'{"id": "evt_1", \x00}',
        b"[]",
        b"1",
        b"null",
        b'"evt_1"',
        b"{}",
        b'{"id": "evt_1", "type": "charge.refunded", "created": 1}',
        b'{"id": "evt_1", "type": "charge.refunded", "created": 1, "data": {"object": 3}}',
        b'{"id": "evt_1", "type": "charge.refunded", "created": 1, "data": []}',
        b'{"id": "evt_1", "type": "charge.refunded", "created": 1e400, "data": {"object": {"id": "ch_1"}}}',
        b'{"id": "evt_1", "type": "charge.refunded", "created": "x", "data": {"object": {"id": "ch_1"}}}',
        b'{"id": "evt_\\u0000", "type": "charge.refunded", "created": 1, "data": {"object": {"id": "ch_1"}}}',
        b'{"id": "' + b"e" * 300 + b'", "type": "x", "created": 1, "data": {"object": {}}}',
        b'{"id": "evt_1", "type": "x\\ud800", "created": 1, "data": {"object": {}}}',
        b'{"id": "evt_1", "type": "charge.refunded", "created": 1, "data": {"object": {}}}',
        b'{"id": "evt_1", "type": "charge.refunded", "created": 1, "data": {"object": {"id": "ch_\\u0000"}}}',
        b"[" * 100_000,
    ],
)
def test_a_body_that_is_no_event_is_refused_though_it_is_signed(post: Post, bought: Purchase, body: bytes) -> None:
    assert post(body).status_code == 400
    assert nothing_was_written(bought)


def test_an_event_of_more_than_a_megabyte_is_refused_though_it_is_signed(
    post: Post, event: dict[str, Any], bought: Purchase, bob: Person
) -> None:
    body = as_body(event).ljust(1024 * 1024)

    answer = post(body + b" ")

    assert (answer.status_code, answer.content) == (400, b"The body is too large.\n")
    assert nothing_was_written(bought)
    assert post(body).content == b"applied\n"
    assert bob.balance == 1000


@pytest.mark.parametrize("changes", [{"account": "acct_of_somebody_else"}, {"livemode": True}])
def test_an_event_of_another_account_or_mode_is_refused(
    post: Post, event: dict[str, Any], bought: Purchase, changes: dict[str, Any]
) -> None:
    assert post(as_body(event, **changes)).status_code == 400
    assert nothing_was_written(bought)


def test_an_event_about_an_object_that_our_account_does_not_have_is_refused(
    post: Post, event: dict[str, Any], bought: Purchase
) -> None:
    session = event["data"]["object"] | {"id": "cs_of_somebody_else"}

    assert post(as_body(event, data={"object": session})).status_code == 400
    assert nothing_was_written(bought)


def test_while_a_secret_is_replaced_both_are_live_and_a_third_is_not(
    post: Post, event: dict[str, Any], bought: Purchase, settings: Any
) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_old", "whsec_new"]

    assert post(as_body(event), [SECRET]).status_code == 400
    assert nothing_was_written(bought)
    assert post(as_body(event), ["whsec_new"]).status_code == 200
    assert post(as_body(event, id="evt_2"), ["whsec_old"]).status_code == 200
    assert post(as_body(event, id="evt_3"), ["whsec_somebody", "whsec_new"]).status_code == 200


def test_without_a_secret_nothing_is_taken(post: Post, event: dict[str, Any], bought: Purchase, settings: Any) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = []

    answer = post(as_body(event), [""])

    assert (answer.status_code, answer.content) == (400, b"STRIPE_WEBHOOK_SECRETS is not set.\n")
    assert nothing_was_written(bought)


def test_only_post_is_answered(db: None) -> None:
    assert Client().get("/stripe/webhook").status_code == 405


@pytest.mark.parametrize("type_", ["payout.paid", "customer.created", "v2.something.new"])
def test_an_unknown_event_is_kept_and_does_nothing(
    post: Post, event: dict[str, Any], bought: Purchase, type_: str
) -> None:
    answer = post(as_body(event, type=type_))

    kept = StripeEvent.objects.get()
    assert (answer.status_code, kept.type, kept.outcome) == (200, type_, "unknown")
    bought.refresh_from_db()
    assert bought.status == "pending"


def test_an_event_of_a_sale_that_was_not_begun_here_is_kept(stripe: PretendStripe, post: Post) -> None:
    price = {"currency": "usd", "unit_amount": 500, "product_data": {"name": "Mug"}}
    session = gateway.client().v1.checkout.sessions.create(
        {"mode": "payment", "success_url": "https://shop.example", "line_items": [{"price_data": price, "quantity": 1}]}
    )
    stripe.world.pay(session.id)
    stripe.world.refund(charge_of(stripe))

    assert set(stripe.webhooks.deliver()) == {200}

    assert set(StripeEvent.objects.values_list("outcome", flat=True)) == {"nobody", "unknown"}
    assert not Entry.objects.exists()


def test_while_stripe_does_not_answer_the_event_is_to_come_again(
    stripe: PretendStripe, post: Post, event: dict[str, Any], bought: Purchase, bob: Person
) -> None:
    stripe.faults.break_down("GET /v1/checkout/sessions", 1)

    assert post(as_body(event)).status_code == 503
    assert nothing_was_written(bought)
    assert post(as_body(event)).status_code == 200
    assert bob.balance == 1000


def test_a_crash_before_the_commit_leaves_nothing_and_the_next_delivery_does_it_all(
    post: Post, event: dict[str, Any], bought: Purchase, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: Any, **__: Any) -> None:
        raise RuntimeError("the process died")

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "come_in", crash)
        assert post(as_body(event)).status_code == 500
        assert nothing_was_written(bought)

    assert post(as_body(event)).status_code == 200
    assert bob.balance == 1000


def test_every_order_of_a_purchase_s_events_ends_alike(stripe: PretendStripe, bought: Purchase, bob: Person) -> None:
    stripe.world.refund(charge_of(stripe), 450)
    dispute = stripe.world.dispute(charge_of(stripe), 300)
    stripe.world.close_dispute(dispute["id"], won=True)
    wanted = ("checkout.session.completed", "charge.refunded", "charge.dispute.created", "charge.dispute.closed")
    events = [event for event in stripe.webhooks.pending if event["type"] in wanted]

    for order in permutations(events):
        sid = purchases.transaction.savepoint()
        assert stripe.webhooks.deliver(order, copies=2) == [200] * 8
        bought.refresh_from_db()
        assert (bought.status, bought.taken_credits, bob.balance) == ("paid", 500, 500)
        assert [*ledger.differences(), *reconciliation.differences()] == []
        purchases.transaction.savepoint_rollback(sid)


def test_every_event_of_a_subscription_in_reverse_ends_alike(
    stripe: PretendStripe, subscribed: Subscription, bob: Person
) -> None:
    subscription_id = stripe.world.all("subscription")[0]["id"]
    stripe.world.renew(subscription_id)
    stripe.world.cancel(subscription_id)

    assert set(stripe.webhooks.deliver(reversed(stripe.webhooks.pending), copies=2)) == {200}

    subscribed.refresh_from_db()
    bob.user.refresh_from_db()
    assert (subscribed.status, str(bob.user.plan), bob.balance) == ("canceled", "Free", 800)
    assert Entry.objects.filter(kind="month").count() == 2


def test_a_refund_of_a_plan_s_month_takes_its_credits_back(
    stripe: PretendStripe, subscribed: Subscription, bob: Person
) -> None:
    stripe.world.refund(charge_of(stripe), 500)

    stripe.webhooks.deliver(reversed(stripe.webhooks.pending))

    month = Purchase.objects.get()
    assert (month.kind, month.credits, month.taken_credits, month.state) == ("month", 400, 200, "partly refunded")
    assert month.receipt_url.endswith(month.invoice_id)
    assert bob.balance == 200
    assert [*ledger.differences(), *reconciliation.differences()] == []


def test_the_operator_is_told_to_send_every_event_that_is_read() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "billing.md").read_text()

    listed = guide.partition("and these events:\n   ```\n")[2].partition("```")[0]

    assert sorted(listed.split()) == sorted(events.READERS)
