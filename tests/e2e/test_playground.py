"""Making an image from an image in a real browser, with nothing but a keyboard; and canceling one."""

import base64
import re
import threading
from typing import Any

import pytest
from playwright.sync_api import APIResponse, Locator, Page, Route, expect

from generation import erasure, making, progress, services, storage
from generation.leases import hearts
from generation.models import Generation, Status
from generation.params import Inputs, Params
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
    assert services.renew([(claim, 4)]) == [False]  # its worker stops
    assert (watch.errors, watch.strangers) == ([], [])


def fill_in(page: Page) -> None:
    page.goto("/playground/")
    page.get_by_text("From words", exact=True).click()
    page.get_by_role("textbox", name="Prompt", exact=True).fill("a cat")


def hold_enter(page: Page) -> None:
    """Press Enter until the keyboard has repeated it once the image is asked for."""
    page.keyboard.down("Enter")
    expect(page.get_by_text("Waiting for its turn")).to_be_visible()
    page.keyboard.down("Enter")
    page.keyboard.up("Enter")


def cancel(page: Page) -> None:
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#failure")).to_have_text("Canceled. Nothing was charged.")


def made(alice: Person) -> Generation:
    """Make an image without a worker."""
    params = Params(mode="text2img", prompt="a cat", seed=7, width=64, height=64)
    claim = services.claim(services.submit(alice.user, params, Inputs()).pk)
    assert claim
    storage.save_image(claim, 0, picture(), as_base64=False)
    services.succeed(claim, [False], 1.0, 1.0, "tiny", "1", "tiny")
    return Generation.objects.get()


def test_pressing_the_keys_twice_makes_one_image(logged_in_page: Page) -> None:
    page = logged_in_page
    held: list[Route] = []
    fill_in(page)
    page.route("**/playground/generations", lambda route: held.append(route))

    with page.expect_request("**/playground/generations"):
        page.keyboard.press("Control+Enter")
    page.keyboard.press("Control+Enter")
    page.get_by_role("textbox", name="Prompt", exact=True).fill("a dog")  # comes after whatever the keys began
    for route in held:
        route.continue_()
    expect(page.get_by_text("Waiting for its turn")).to_be_visible()

    assert len(held) == Generation.objects.count() == 1


def test_keys_that_are_held_down_make_one_image(logged_in_page: Page) -> None:
    page = logged_in_page
    fill_in(page)

    page.keyboard.down("Control")
    hold_enter(page)
    page.keyboard.up("Control")
    cancel(page)

    assert Generation.objects.count() == 1


def test_a_key_that_sends_the_form_and_is_held_down_makes_one_image(logged_in_page: Page) -> None:
    page = logged_in_page
    fill_in(page)
    page.get_by_role("textbox", name="Seed").focus()

    hold_enter(page)
    cancel(page)

    assert Generation.objects.count() == 1


def test_a_slow_double_click_makes_one_image(logged_in_page: Page) -> None:
    page = logged_in_page
    fill_in(page)

    page.get_by_role("button", name="Generate").dblclick(delay=500)  # longer than the answer takes
    cancel(page)

    assert Generation.objects.count() == 1


@pytest.mark.parametrize("button", ["Run again", "Vary seed"])
def test_a_double_click_repeats_once(logged_in_page: Page, alice: Person, button: str) -> None:
    page = logged_in_page
    earlier = made(alice)
    page.goto(f"/playground/?from={earlier.pk}")

    page.get_by_role("button", name=button).dblclick()
    expect(page.get_by_text("Waiting for its turn")).to_be_visible()

    assert Generation.objects.exclude(pk=earlier.pk).count() == 1


def test_a_slow_page_is_not_asked_twice_for_the_same(logged_in_page: Page, alice: Person) -> None:
    page = logged_in_page
    earlier = made(alice)
    answers: list[tuple[Route, APIResponse]] = []
    page.route("**/again", lambda route: answers.append((route, route.fetch(max_redirects=0))))
    page.goto(f"/history/{earlier.pk}/")
    box = page.get_by_role("button", name="Run again").bounding_box()
    assert box

    for _ in range(2):
        page.mouse.click(box["x"] + 5, box["y"] + 5)
        page.wait_for_timeout(500)  # the site has made it, and its answer is still on the way
    route, answer = answers[-1]
    route.fulfill(response=answer)
    expect(page.get_by_text("Waiting for its turn")).to_be_visible()

    assert Generation.objects.exclude(pk=earlier.pk).count() == 1


def test_a_page_that_stays_sends_its_form_again_after_a_moment(logged_in_page: Page, alice: Person) -> None:
    page = logged_in_page
    made(alice)
    page.goto("/history/")
    page.get_by_role("checkbox", name="Choose generation").check()

    for _ in range(2):
        with page.expect_download():
            page.get_by_role("button", name="Download").click()
        page.wait_for_timeout(2200)


def test_who_is_logged_out_meanwhile_is_asked_to_log_in(logged_in_page: Page) -> None:
    page = logged_in_page
    fill_in(page)
    page.get_by_role("button", name="Generate").click()
    expect(page.get_by_text("Waiting for its turn")).to_be_visible()

    page.context.clear_cookies()

    expect(page).to_have_url(re.compile("/account/login/"))


def test_what_was_deleted_elsewhere_is_not_waited_for(logged_in_page: Page, alice: Person) -> None:
    page = logged_in_page
    fill_in(page)
    page.route("**/events", lambda route: route.abort())  # so that the page asks
    page.get_by_role("button", name="Generate").click()
    expect(page.get_by_text("Waiting for its turn")).to_be_visible()

    erasure.delete(alice.user, [Generation.objects.get().pk])

    expect(page.get_by_text("Waiting for its turn")).to_be_hidden()
    expect(page.get_by_role("button", name="Generate")).to_be_enabled()


def test_a_log_in_page_is_not_taken_for_a_start_image(logged_in_page: Page, alice: Person) -> None:
    page = logged_in_page
    page.goto(f"/playground/?from={made(alice).pk}")
    expect(page.get_by_role("button", name="Use as start image")).to_be_visible()
    page.context.clear_cookies()

    page.get_by_role("button", name="Use as start image").click()

    expect(page.get_by_text("The image could not be loaded.")).to_be_visible()
    expect(page.get_by_alt_text("Start image", exact=True)).to_be_hidden()
