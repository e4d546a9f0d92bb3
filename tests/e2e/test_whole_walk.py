"""From signing up to being refused: one person's whole way through the site, and staff beside it."""

import json
import re
import subprocess
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.utils import timezone
from playwright.sync_api import BrowserContext, Page, expect

from accounts.models import ApiKey, User
from billing.models import Pack
from generation.models import Generation
from tests.conftest import Person
from tests.e2e.browser import Watch
from tests.live import Web, working
from tests.stripe_server import PretendStripe, cards

EMAIL = "dora@example.org"
SMALL = {"Steps": "3", "Width": "64", "Height": "64"}


def test_a_stranger_becomes_a_customer_and_staff_set_a_limit(
    page: Page,
    profile: Callable[..., BrowserContext],
    charlie: Person,
    web: Web,
    stripe: PretendStripe,
    work: Callable[[], None],
) -> None:
    Pack.objects.create(name="Medium", credits=1000, price_cents=900, currency="usd")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    watch = Watch(page)

    sign_up(page, web)
    buy(page)
    key = make_key(page)
    ask_for_image(page)
    expect(page.get_by_text("Waiting for its turn")).to_be_visible()
    with working(work):
        expect(page.get_by_alt_text("Image 1: a cat in the snow")).to_be_visible()
        curl = copy_curl(page)
        answer = run(curl.replace("YOUR_API_KEY", key))
    assert answer["status"] == "success"
    page.goto("/history/")
    expect(page.get_by_role("link", name="a cat in the snow")).to_have_count(2)
    assert [one.api_key_id for one in Generation.objects.order_by("pk")] == [None, ApiKey.objects.get(name="Shop").pk]

    lower_quota(profile(charlie).new_page(), User.objects.get(email=EMAIL), images_per_month="2")
    refused = run(curl.replace("YOUR_API_KEY", key))

    words = f"Your monthly limit exceeded, upgrade subscription now on {web.url}/billing/"
    assert refused == {"status": "error", "message": words}
    assert Generation.objects.count() == 2
    assert ([error for error in watch.errors if stripe.url not in error], watch.strangers) == ([], [])


def sign_up(page: Page, web: Web) -> None:
    page.goto("/")
    page.get_by_role("link", name="Sign up").first.click()
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password", exact=True).fill("correct horse battery")
    page.get_by_role("button", name="Sign up").click()
    page.get_by_label("Code").fill(code_of_the_mail(web))
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_text("Account", exact=True)).to_be_visible()


def code_of_the_mail(web: Web) -> str:
    """Return the code of the newest e-mail, which the site prints where no e-mail server is set."""
    for _ in range(200):
        if found := re.findall(r"Your code is\s+(\S+)\s", web.log.read_text()):
            return str(found[-1])
        time.sleep(0.05)
    raise AssertionError("No e-mail came.")


def buy(page: Page) -> None:
    page.goto("/billing/buy/")
    page.get_by_role("button", name="Buy 1,000 credits").click()
    page.get_by_label("Card number").fill(cards.PAYS)
    page.get_by_role("button", name="Pay").click()
    expect(page.get_by_role("heading", name="Paid: 1,000 credits")).to_be_visible()


def make_key(page: Page) -> str:
    page.goto("/keys/new/")
    page.get_by_label("Name").fill("Shop")
    page.get_by_role("button", name="Make the key").click()
    return page.locator("#secret").inner_text()


def ask_for_image(page: Page) -> None:
    page.goto("/playground/")
    page.get_by_role("button", name="Use the sample: a cat").click()
    page.get_by_role("textbox", name="Prompt", exact=True).fill("a cat in the snow")
    for label, number in SMALL.items():
        page.get_by_role("spinbutton", name=label).fill(number)
    page.get_by_label("Blank indecent images").uncheck()
    page.get_by_role("button", name="Generate").click()


def copy_curl(page: Page) -> str:
    page.goto("/history/")
    page.get_by_role("link", name="a cat in the snow").click()
    page.get_by_role("button", name="cURL").click()
    expect(page.get_by_text("Copied").first).to_be_visible()
    return str(page.evaluate("navigator.clipboard.readText()"))


def run(curl: str) -> Any:
    return json.loads(subprocess.run(["bash", "-c", curl], capture_output=True, check=True, timeout=60).stdout)


def lower_quota(page: Page, user: User, **limits: str) -> None:
    page.goto(f"/admin/accounts/quotaoverride/add/?user={user.pk}")
    end = timezone.now() + timedelta(days=7)
    page.locator("[name=reason]").fill("Unpaid invoice")
    page.locator("[name=ends_at_0]").fill(f"{end:%Y-%m-%d}")
    page.locator("[name=ends_at_1]").fill("00:00:00")
    for name, limit in limits.items():
        page.locator(f"[name={name}]").fill(limit)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page).to_have_url(re.compile("/admin/accounts/quotaoverride/$"))
