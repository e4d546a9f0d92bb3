"""An API key from its making to its end, in a real browser."""

import re

from playwright.sync_api import Page, expect

from accounts.authentication import InvalidKey, authenticate
from accounts.models import ApiKey, Scope
from tests.e2e.browser import Watch


def test_a_key_is_made_copied_rotated_and_revoked(logged_in_page: Page) -> None:
    page = logged_in_page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    watch = Watch(page)

    page.goto("/keys/")
    page.get_by_role("link", name="New key").click()
    page.get_by_label("Name").fill("Shop")
    page.get_by_label("Credits a month").fill("50")
    page.get_by_role("button", name="Make the key").click()
    page.locator(".secret").get_by_role("button", name="Copy").click()
    expect(page.get_by_text("Copied", exact=True)).to_be_visible()
    first = page.evaluate("navigator.clipboard.readText()")
    assert authenticate(first, Scope.GENERATE).spending_cap_credits == 50

    page.get_by_role("link", name="I have copied it").click()
    page.get_by_role("link", name="Rotate Shop").click()
    dialog = page.get_by_role("dialog", name="Rotate Shop?")
    dialog.get_by_label("works for one more hour").check()
    dialog.get_by_role("button", name="Rotate").click()
    second = page.locator("#secret").inner_text()
    assert re.fullmatch(r"sk_[\w-]{43}", second)
    assert authenticate(first) == authenticate(second) == ApiKey.objects.get(name="Shop")

    page.get_by_role("link", name="I have copied it").click()
    expect(page.get_by_text("Since the rotation it was last used")).to_be_visible()
    page.get_by_role("link", name="Revoke Shop").click()
    page.get_by_role("button", name="Keep it").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.get_by_role("link", name="Revoke Shop").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("Shop was revoked.")).to_be_visible()
    for secret in (first, second):
        try:
            authenticate(secret)
        except InvalidKey:
            continue
        raise AssertionError("A revoked key still works.")
    assert (watch.errors, watch.strangers) == ([], [])
