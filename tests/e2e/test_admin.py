"""The admin in a real browser: the pages that staff see most, and what they do there."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from generation import queue
from tests.belongings import furnish
from tests.conftest import Person
from tests.e2e.browser import NARROW, WIDE, Watch, accessibility_issues

# Django's own script for choosing groups and rights (SelectFilter2.js) writes aria-label on a <span> without a role,
# which screen readers may pass over; the fields have labels of their own.
NOT_OURS = ["aria-prohibited-attr"]


@pytest.fixture
def page(transactional_db: None, profile: Callable[..., BrowserContext], charlie: Person) -> Page:
    """Charlie's page."""
    return profile(charlie).new_page()


def check(page: Page, address: str) -> None:
    """Look at a page wide and narrow, in light and in dark."""
    watch, found = Watch(page), {}
    page.goto(address)
    for width, size in {"wide": WIDE, "narrow": NARROW}.items():
        page.set_viewport_size(size)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            rules = None if scheme == "light" else ["color-contrast"]
            found[width, scheme] = accessibility_issues(page, rules, () if rules else NOT_OURS)
        sideways = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert sideways == 0, f"{address} scrolls sideways when {width}"
    page.set_viewport_size(WIDE)
    page.emulate_media(color_scheme="light")

    assert {where: issues for where, issues in found.items() if issues} == {}
    assert (watch.errors, watch.strangers) == ([], [])


def test_the_first_page_shows_the_day_and_leads_on(page: Page, alice: Person) -> None:
    furnish(alice)
    check(page, "/admin/")

    expect(page.get_by_role("img", name="Images, day by day")).to_be_visible()
    expect(page.get_by_text("2 in 14 days, at most 2 a day").first).to_be_visible()
    page.get_by_role("link", name="Accounts").click()
    page.get_by_role("link", name="alice@example.org").click()

    expect(page.get_by_role("heading", name="Limits in force")).to_be_visible()


def test_the_page_of_a_person_gives_credits_and_suspends(page: Page, alice: Person) -> None:
    furnish(alice)
    before = alice.balance
    check(page, f"/admin/accounts/user/{alice.user.pk}/change/")

    page.get_by_role("link", name="Give or take credits").click()
    page.get_by_label("Credits").fill("250")
    page.get_by_label("Reason").fill("Sorry for the wait")
    page.get_by_role("button", name="Move the credits").click()
    expect(page.get_by_text(f"+250 credits: the balance is {before + 250:,}.")).to_be_visible()
    page.get_by_role("link", name="Suspend").click()
    page.get_by_label("Reason").fill("The card was stolen")
    page.get_by_role("button", name="Suspend").click()
    expect(page.get_by_text("The card was stolen").first).to_be_visible()
    page.get_by_role("button", name="Lift the suspension").click()
    expect(page.get_by_text("The account works again.")).to_be_visible()

    alice.user.refresh_from_db()
    assert (alice.balance, alice.user.suspended_at) == (before + 250, None)


def test_the_page_of_the_models_says_what_is_served(page: Page, alice: Person) -> None:
    furnish(alice)
    queue.beat("one", {"model": "starter", "device": "cuda:0"})
    check(page, "/admin/models/")

    row = page.get_by_role("row", name=re.compile("starter default"))
    expect(row).to_contain_text("cuda:0")
    expect(page.get_by_role("heading", name="Models")).to_be_visible()
