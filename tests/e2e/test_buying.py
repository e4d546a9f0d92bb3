"""Buying a pack in a real browser, on the pretend Stripe's pay page."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from billing.models import Pack, Purchase
from tests.conftest import Person
from tests.e2e.browser import Watch
from tests.stripe_server import PretendStripe, cards

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def page(transactional_db: None, profile: Callable[..., BrowserContext], bob: Person) -> Page:
    """Bob's page."""
    Pack.objects.create(name="Medium", credits=1000, price_cents=900, currency="usd")
    return profile(bob).new_page()


def test_a_pack_is_bought_and_the_balance_rises(page: Page, bob: Person, stripe: PretendStripe) -> None:
    watch = Watch(page)
    page.goto("/billing/")
    expect(page.locator("#balance")).to_have_text("0")

    page.get_by_role("link", name="Buy credits").first.click()
    page.get_by_role("button", name="Buy 1,000 credits").click()
    expect(page).to_have_url(f"{stripe.url}/pay/{Purchase.objects.get().session_id}")
    page.get_by_label("Card number").fill(cards.PAYS)
    page.get_by_role("button", name="Pay").click()

    expect(page.get_by_role("heading", name="Paid: 1,000 credits")).to_be_visible()
    expect(page.locator("#balance")).to_have_text("1,000")
    assert (Purchase.objects.get().status, bob.balance) == ("paid", 1000)
    ours = [error for error in watch.errors if stripe.url not in error]
    assert (ours, watch.strangers) == ([], [])


def test_a_declined_card_is_said_and_another_one_pays(page: Page, bob: Person) -> None:
    page.goto("/billing/buy/")
    page.get_by_role("button", name="Buy 1,000 credits").click()
    page.get_by_label("Card number").fill(cards.DECLINED)
    page.get_by_role("button", name="Pay").click()

    expect(page.get_by_role("alert")).to_have_text("Your card was declined.")
    assert (Purchase.objects.get().status, bob.balance) == ("pending", 0)

    page.get_by_label("Card number").fill(cards.PAYS)
    page.get_by_role("button", name="Pay").click()
    expect(page.locator("#balance")).to_have_text("1,000")


def test_who_comes_back_without_paying_is_told_that_nothing_was_charged(page: Page, bob: Person) -> None:
    page.goto("/billing/buy/")
    page.get_by_role("button", name="Buy 1,000 credits").click()
    page.get_by_role("link", name="Cancel and go back").click()

    expect(page.get_by_role("heading", name="Nothing was charged")).to_be_visible()
    assert bob.balance == 0


def test_a_lost_request_does_not_end_the_waiting(page: Page, bob: Person) -> None:
    page.goto("/billing/buy/")
    page.get_by_role("button", name="Buy 1,000 credits").click()
    waiting = page.context.new_page()
    waiting.route(re.compile("/state/"), lambda route: route.abort(), times=2)

    with waiting.expect_event("requestfailed"):
        waiting.goto(f"/billing/purchases/{Purchase.objects.get().pk}/")
    page.get_by_label("Card number").fill(cards.PAYS)
    page.get_by_role("button", name="Pay").click()

    expect(waiting.get_by_role("heading", name="Paid: 1,000 credits")).to_be_visible()
    assert bob.balance == 1000
