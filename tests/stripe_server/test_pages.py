"""The pages that people see, asked for as a browser does."""

import re
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPRedirectHandler, build_opener

import pytest

from tests.stripe_server import PretendStripe, cards

Checkout = Callable[..., Any]


class NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def browse(url: str, **form: str) -> tuple[int, str, str]:
    """Return status, page and where it sends on to."""
    try:
        reply = build_opener(NoRedirects).open(url, urlencode(form).encode() if form else None)
    except HTTPError as error:
        reply = error
    return reply.status, reply.read().decode(), reply.headers.get("Location", "")


def test_the_pay_page_shows_what_is_bought_and_that_it_is_not_real(checkout: Checkout) -> None:
    session = checkout(cancel_url="https://shop.example/back", customer_email="alice@example.org")

    status, page, _ = browse(session.url)

    assert status == 200
    for words in (
        "This is a pretend Stripe.",
        "1,000 credits",
        "Pay 9.00 USD",
        "alice@example.org",
        "4242 4242 4242 4242",
    ):
        assert words in page
    assert 'href="https://shop.example/back"' in page
    assert not re.search(r"<script|style=|https?://(?!shop)", page)


def test_a_good_card_pays_and_goes_back_to_the_shop(server: PretendStripe, checkout: Checkout) -> None:
    session = checkout(success_url="https://shop.example/done?id={CHECKOUT_SESSION_ID}")

    status, _, sent_to = browse(session.url, email="alice@example.org", card="4242 4242 4242 4242")

    assert (status, sent_to) == (303, f"https://shop.example/done?id={session.id}")
    assert server.charged_cents == [900]
    assert server.world.all("checkout.session")[0]["customer_details"]["email"] == "alice@example.org"
    assert browse(session.url)[2] == sent_to


@pytest.mark.parametrize(
    ("card", "words"),
    [
        (cards.DECLINED, "Your card was declined."),
        (cards.NO_FUNDS, "Your card has insufficient funds."),
        ("1234", "Your card number is incorrect."),
    ],
)
def test_a_bad_card_is_told_so_and_another_can_be_tried(
    server: PretendStripe, checkout: Checkout, card: str, words: str
) -> None:
    session = checkout()

    status, page, _ = browse(session.url, email="alice@example.org", card=card)

    assert (status, words in page, 'value="alice@example.org"' in page) == (402, True, True)
    assert browse(session.url, email="alice@example.org", card=cards.PAYS)[0] == 303
    assert server.charged_cents == [900]


def test_a_used_up_page_says_so(server: PretendStripe, checkout: Checkout) -> None:
    session = checkout(cancel_url="https://shop.example/back")
    server.world.expire(session.id)

    assert browse(session.url)[0] == 410
    assert browse(f"{server.url}/pay/cs_test_none")[0] == 404


def test_the_portal_changes_and_cancels_a_plan(
    server: PretendStripe, client: Any, subscription: str, plans: tuple[str, str]
) -> None:
    customer = client.subscriptions.retrieve(subscription).customer
    portal = client.billing_portal.sessions.create({"customer": customer, "return_url": "https://shop.example/plan"})
    assert "Studio: 10.00 USD a month" in browse(portal.url)[1]

    browse(portal.url, do="plan", subscription=subscription, price=plans[1])
    assert server.charged_cents == [1000, 2000]
    browse(portal.url, do="cancel", subscription=subscription)
    assert client.subscriptions.retrieve(subscription).cancel_at_period_end
    browse(portal.url, do="resume", subscription=subscription)
    browse(portal.url, do="end", subscription=subscription)

    assert client.subscriptions.retrieve(subscription).status == "canceled"
    assert "You have no plan." in browse(portal.url)[1]


def test_the_portal_takes_another_card(server: PretendStripe, client: Any, subscription: str) -> None:
    customer = client.subscriptions.retrieve(subscription).customer
    server.world.change_card(customer, cards.DECLINED)
    portal = client.billing_portal.sessions.create({"customer": customer})

    browse(portal.url, do="card", card=cards.PAYS)

    assert server.world.renew(subscription)["status"] == "paid"


def test_receipts_and_invoices_can_be_looked_at(client: Any, server: PretendStripe, subscription: str) -> None:
    [invoice] = client.invoices.list().data
    [charge] = client.charges.list().data

    assert "10.00 USD" in browse(invoice.hosted_invoice_url)[1]
    assert "Receipt: 10.00 USD" in browse(charge.receipt_url)[1]


def test_the_dashboard_lets_things_happen(server: PretendStripe, client: Any, subscription: str) -> None:
    [charge] = client.charges.list().data
    assert charge.id in browse(server.url)[1]

    assert browse(f"{server.url}/do", id=charge.id, what="refund half")[0] == 303
    assert browse(f"{server.url}/do", id=charge.id, what="dispute")[0] == 303
    assert browse(f"{server.url}/do", id=subscription, what="renew")[0] == 303
    refused = browse(f"{server.url}/do", id=charge.id, what="refund")

    assert client.charges.retrieve(charge.id).amount_refunded == 500
    assert "charged back" in refused[1]
    assert server.charged_cents == [1000, 1000]
    assert "charge.dispute.created" in browse(server.url)[1]
