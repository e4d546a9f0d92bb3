"""Making an image from an image in a real browser, with nothing but a keyboard; and canceling one."""

import base64
import threading
from typing import Any

from playwright.sync_api import Locator, Page, expect

from generation import making, progress, services
from generation.heart import hearts
from generation.models import Generation, Status
from generation.progress import Progress
from tests.conftest import Person
from tests.e2e.browser import Watch
from tests.v3.bodies import picture

MOST_TABS = 80


def go_to(page: Page, wanted: Locator) -> None:
    """Press Tab until the element has the focus."""
    for _ in range(MOST_TABS):
        if wanted.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Nobody comes to {wanted} with the Tab key.")


def write(page: Page, label: str, text: str) -> None:
    go_to(page, page.get_by_role("spinbutton", name=label).or_(page.get_by_role("textbox", name=label, exact=True)))
    page.keyboard.press("Control+A")
    page.keyboard.type(text)


def press(page: Page, wanted: Locator, key: str = "Enter") -> None:
    go_to(page, wanted)
    page.keyboard.press(key)


def test_a_sample_becomes_an_image_that_is_kept_in_the_history(
    logged_in_page: Page, alice: Person, engine: Any
) -> None:
    page = logged_in_page
    watch = Watch(page)

    page.goto("/playground/")
    press(page, page.get_by_role("button", name="Use the sample: a cat"))
    expect(page.get_by_alt_text("Start image")).to_be_visible()
    write(page, "Prompt", "a cat in the snow")
    for label, number in (("Steps", "4"), ("Width", "64"), ("Height", "64")):
        write(page, label, number)
    write(page, "Seed", "7")
    press(page, page.get_by_label("Blank indecent images"), "Space")
    expect(page.locator("#price")).to_contain_text("1 credit of 1,000")
    press(page, page.get_by_role("button", name="Generate"))

    expect(page.get_by_text("Waiting for its turn")).to_be_visible()
    claim = services.claim(Generation.objects.get(account=alice.user).pk)
    assert claim
    draft = base64.b64encode(picture(format="JPEG")).decode()
    progress.publish(Progress(claim.pk, claim.attempt, 1, 2, draft, 1))
    expect(page.get_by_text("Step 1 of 2")).to_be_visible()
    expect(page.get_by_alt_text("What the image is becoming")).to_have_attribute(
        "src", f"data:image/jpeg;base64,{draft}"
    )
    with hearts() as beating:
        making.make(claim, engine, threading.Event(), beating)

    before, after = page.get_by_alt_text("Before", exact=True), page.get_by_alt_text("Image 1: a cat in the snow")
    for image in (before, after):
        expect(image).to_be_visible()
        expect(image).to_have_js_property("complete", True)
        assert image.evaluate("image => image.naturalWidth") > 0
    expect(page.locator("#facts")).to_contain_text("64 × 64")
    expect(page.locator("#price")).to_contain_text("of 999")
    slider = page.get_by_label("Compare the start image with the result")
    press(page, slider, "ArrowRight")
    expect(slider).to_have_value("51")
    go_to(page, page.get_by_role("link", name="Download"))
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == f"atelier-{claim.pk}-1.png"

    press(page, page.get_by_role("link", name="History", exact=True))
    expect(page).to_have_url("/history/")
    tile = page.get_by_role("link", name="a cat in the snow")
    expect(tile.get_by_role("img")).to_have_js_property("complete", True)
    press(page, tile)
    expect(page.get_by_role("heading", name=f"Generation {claim.pk}")).to_be_visible()
    assert (watch.errors, watch.strangers) == ([], [])


def test_what_runs_is_canceled_and_nothing_is_charged(logged_in_page: Page, alice: Person) -> None:
    page = logged_in_page
    watch = Watch(page)
    page.goto("/playground/")
    page.get_by_text("From words", exact=True).click()
    page.get_by_role("textbox", name="Prompt", exact=True).fill("a cat")
    page.get_by_role("button", name="Generate").click()
    expect(page.get_by_text("Waiting for its turn")).to_be_visible()
    claim = services.claim(Generation.objects.get().pk)
    assert claim
    progress.publish(Progress(claim.pk, claim.attempt, 3, 31, "", 9))
    expect(page.get_by_text("Step 3 of 31")).to_be_visible()
    assert alice.balance < 1000

    page.get_by_role("button", name="Cancel").click()

    expect(page.get_by_role("heading", name="No image")).to_be_visible()
    expect(page.locator("#failure")).to_have_text("Canceled. Nothing was charged.")
    expect(page.locator("#price")).to_contain_text("of 1,000")
    assert (Generation.objects.get().status, alice.balance) == (Status.CANCELED, 1000)
    assert not services.renew(claim, 4)  # its worker stops
    assert (watch.errors, watch.strangers) == ([], [])
