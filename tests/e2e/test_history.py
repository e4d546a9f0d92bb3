"""The history in a real browser: filters, and what they are kept by."""

import re

from playwright.sync_api import Page, expect

from generation import services
from generation.params import Inputs, Params
from tests.conftest import Person


def test_who_is_logged_out_meanwhile_is_asked_to_log_in(logged_in_page: Page) -> None:
    page = logged_in_page
    page.goto("/history/")
    page.context.clear_cookies()

    page.get_by_label("Words of the prompt").fill("cat")

    expect(page).to_have_url(re.compile("/account/login/"))
    expect(page.get_by_role("heading", name="History")).to_be_hidden()


def test_the_other_view_keeps_the_filters(logged_in_page: Page, alice: Person) -> None:
    page = logged_in_page
    for prompt in ("a lighthouse", "a cat"):
        services.submit(alice.user, Params(mode="text2img", prompt=prompt, seed=7, width=64, height=64), Inputs())
    page.goto("/history/")
    page.get_by_label("Words of the prompt").fill("lighthouse")
    expect(page.get_by_role("checkbox", name="Choose generation")).to_have_count(1)

    page.get_by_role("link", name="Table").click()

    expect(page.get_by_role("cell", name="a lighthouse")).to_be_visible()
    expect(page.get_by_role("cell", name="a cat")).to_be_hidden()
    expect(page.get_by_label("Words of the prompt")).to_have_value("lighthouse")


def test_what_fails_again_and_again_is_said_once(logged_in_page: Page) -> None:
    page = logged_in_page
    page.goto("/history/")
    page.route("**/history/?*", lambda route: route.abort())
    said = page.get_by_text("The site cannot be reached.")

    for words in ("cat", "dog"):
        with page.expect_event("requestfailed"):
            page.get_by_label("Words of the prompt").fill(words)
        page.wait_for_timeout(300)

    assert said.count() == 1
