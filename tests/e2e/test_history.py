"""The history in a real browser: filters, and what they are kept by."""

import re

from playwright.sync_api import Page, expect


def test_who_is_logged_out_meanwhile_is_asked_to_log_in(logged_in_page: Page) -> None:
    page = logged_in_page
    page.goto("/history/")
    page.context.clear_cookies()

    page.get_by_label("Words of the prompt").fill("cat")

    expect(page).to_have_url(re.compile("/account/login/"))
    expect(page.get_by_role("heading", name="History")).to_be_hidden()
