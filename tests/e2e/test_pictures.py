"""Giving the playground a picture, as a person does it: painted, drawn, dropped, pasted; and pictures that are lost."""

import base64
from io import BytesIO

from PIL import Image
from playwright.sync_api import Locator, Page, Route, expect

from generation import images, services, storage
from generation.models import Generation
from generation.params import Inputs, Params
from tests.conftest import Person
from tests.e2e.browser import Watch
from tests.v3.bodies import mask, picture

SIDE = 64
MADE_HERE = Params(
    mode="text2img",
    prompt="a lighthouse at dusk",
    negative_prompt="people",
    seed=4711,
    width=128,
    height=192,
    num_inference_steps=9,
    guidance_scale=4.5,
    strength=0.35,
    enhance_prompt=False,
    safety_checker=False,
)

# A file as it comes from the desktop or the clipboard.
FILES = """([text, name, type]) => {
  const files = new DataTransfer();
  files.items.add(new File([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))], name, { type }));
  return files;
}"""
COPY = """async (text) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  await navigator.clipboard.write([new ClipboardItem({ "image/png": new Blob([bytes], { type: "image/png" }) })]);
}"""


def drop(page: Page, data: bytes, name: str = "picture.png", kind: str = "image/png") -> None:
    files = page.evaluate_handle(FILES, [base64.b64encode(data).decode(), name, kind])
    for event in ("dragenter", "dragover", "drop"):
        page.locator("main").dispatch_event(event, {"dataTransfer": files})


def begin(page: Page, mode: str = "From an image") -> None:
    page.goto("/playground/")
    page.get_by_text(mode, exact=True).click()
    for label in ("Width", "Height"):
        page.get_by_role("spinbutton", name=label).fill(str(SIDE))


def draw(page: Page, canvas: Locator, begin: tuple[int, int], end: tuple[int, int]) -> None:
    """Draw a line on a canvas whose image is SIDE wide."""
    box = canvas.bounding_box()
    assert box
    scale = box["width"] / SIDE
    page.mouse.move(box["x"] + begin[0] * scale, box["y"] + begin[1] * scale)
    page.mouse.down()
    page.mouse.move(box["x"] + end[0] * scale, box["y"] + end[1] * scale, steps=4)
    page.mouse.up()


def generate(page: Page) -> Generation:
    """Press the button and return what was submitted."""
    page.get_by_role("textbox", name="Prompt", exact=True).fill("a cat")
    page.get_by_role("button", name="Generate").click()
    expect(page.get_by_text("Waiting for its turn")).to_be_visible()
    return Generation.objects.get()


def opened(name: str) -> Image.Image:
    return Image.open(BytesIO(storage.read_input(name))).convert("RGB")


def test_what_is_painted_is_repainted(logged_in_page: Page) -> None:
    page = logged_in_page
    watch = Watch(page)
    begin(page, "Repaint a part")
    drop(page, picture())

    page.get_by_role("button", name="Paint the mask").click()
    dialog = page.get_by_role("dialog", name="Paint what is to change")
    canvas = dialog.get_by_label("Mask. Arrow keys")
    dialog.get_by_role("slider", name="Brush").fill("8")
    draw(page, canvas, (8, 32), (56, 32))
    draw(page, canvas, (8, 10), (56, 10))
    dialog.get_by_role("button", name="Undo").click()
    dialog.get_by_text("Erase").click()
    draw(page, canvas, (48, 20), (48, 44))
    dialog.get_by_role("button", name="Use the mask").click()
    expect(page.get_by_alt_text("Mask: what is tinted is repainted")).to_be_visible()
    generation = generate(page)

    painted = opened(generation.mask_image_name)
    seen = {place: painted.getpixel(place) for place in ((20, 32), (48, 32), (20, 10), (20, 50))}
    white, black = (255, 255, 255), (0, 0, 0)
    assert (generation.mode, painted.size) == ("inpaint", (SIDE, SIDE))
    assert seen == {(20, 32): white, (48, 32): black, (20, 10): black, (20, 50): black}
    assert storage.read_input(generation.init_image_name) == picture()
    assert (watch.errors, watch.strangers) == ([], [])


def test_a_mask_is_painted_with_the_keyboard_alone(logged_in_page: Page) -> None:
    page = logged_in_page
    begin(page, "Repaint a part")
    drop(page, picture())

    page.get_by_role("button", name="Paint the mask").press("Enter")
    page.get_by_role("slider", name="Brush").fill("8")
    canvas = page.get_by_label("Mask. Arrow keys")
    for key in ("Space", "ArrowRight", "ArrowRight", "Space", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown"):
        canvas.press(key)
    page.get_by_role("button", name="Use the mask").press("Enter")
    painted = opened(generate(page).mask_image_name)

    assert [painted.getpixel((x, y))[0] for x, y in ((32, 32), (40, 32), (40, 48), (20, 32))] == [255, 255, 0, 0]


def test_a_drawing_is_a_start_image(logged_in_page: Page) -> None:
    page = logged_in_page
    watch = Watch(page)
    begin(page)

    page.get_by_role("button", name="Draw one").click()
    dialog = page.get_by_role("dialog", name="Draw a start image")
    dialog.get_by_label("Colour").fill("#2040c0")
    dialog.get_by_role("slider", name="Brush").fill("8")
    draw(page, dialog.get_by_label("Canvas. Arrow keys"), (8, 20), (56, 20))
    dialog.get_by_role("button", name="Use the drawing").click()
    expect(page.get_by_alt_text("Start image")).to_be_visible()
    drawing = opened(generate(page).init_image_name)

    assert drawing.size == (SIDE, SIDE)
    assert [drawing.getpixel(place) for place in ((32, 20), (32, 40))] == [(0x20, 0x40, 0xC0), (255, 255, 255)]
    assert (watch.errors, watch.strangers) == ([], [])


def test_a_dropped_photo_is_sent_as_it_is(logged_in_page: Page) -> None:
    page = logged_in_page
    photo = picture(format="JPEG")
    begin(page, "From words")

    drop(page, photo, "photo.jpg", "image/jpeg")
    expect(page.get_by_alt_text("Start image")).to_be_visible()
    expect(page.get_by_label("From an image")).to_be_checked()
    generation = generate(page)

    assert (generation.mode, storage.read_input(generation.init_image_name)) == ("img2img", photo)


def test_what_is_no_image_is_not_taken(logged_in_page: Page) -> None:
    page = logged_in_page
    begin(page)

    drop(page, b"hello", "notes.txt", "text/plain")

    expect(page.get_by_text("That is not an image.")).to_be_visible()
    expect(page.get_by_role("button", name="Draw one")).to_be_visible()


def test_a_pasted_image_is_a_start_image(logged_in_page: Page) -> None:
    page = logged_in_page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    begin(page)

    page.evaluate(COPY, base64.b64encode(picture()).decode())
    page.keyboard.press("Control+V")
    expect(page.get_by_alt_text("Start image")).to_be_visible()
    pasted = opened(generate(page).init_image_name)

    assert pasted.tobytes() == Image.open(BytesIO(picture())).convert("RGB").tobytes()


def test_an_image_that_was_made_here_brings_its_parameters_along(logged_in_page: Page) -> None:
    page = logged_in_page
    watch = Watch(page)
    recipe = MADE_HERE.as_json() | {"model": "tiny"}
    png = images.encode_png(images.decode(picture()), "a lighthouse at dusk", recipe)
    page.goto("/playground/")
    page.get_by_role("textbox", name="Prompt", exact=True).fill("my own words")
    before = filled_in(page)

    drop(page, png)
    expect(page.get_by_text("The parameters of this image are in the form.")).to_be_visible()

    wanted = {name: str(value) for name, value in MADE_HERE.as_json().items() if name in before}
    assert filled_in(page) == before | wanted | {"mode": "img2img", "enhance_prompt": "no", "safety_checker": "no"}
    page.get_by_role("button", name="Keep my own").click()
    assert filled_in(page) == before
    expect(page.get_by_alt_text("Start image")).to_be_visible()
    assert (watch.errors, watch.strangers) == ([], [])


def filled_in(page: Page) -> dict[str, str]:
    """Return what the form would send, without files."""
    fields: dict[str, str] = page.locator("#playground").evaluate("form => Object.fromEntries(new FormData(form))")
    return {name: str(value) for name, value in fields.items() if not name.endswith(("_image", "token"))}


def test_pictures_that_are_lost_are_said_on_the_page(logged_in_page: Page, alice: Person) -> None:
    page = logged_in_page
    inputs = Inputs(init_image_name=storage.save_input(picture()), mask_image_name=storage.save_input(mask()))
    params = Params(mode="inpaint", prompt="a cat", seed=7, width=SIDE, height=SIDE)
    claim = services.claim(services.submit(alice.user, params, inputs).pk)
    assert claim
    storage.save_image(claim, 0, picture(), as_base64=False)
    services.succeed(claim, [False], 1.0, 1.0, "tiny", "1", "tiny")
    storage.delete_inputs(claim)

    for address in (f"/history/{claim.pk}/", f"/playground/?from={claim.pk}"):
        page.goto(address)
        expect(page.get_by_text("The start image could not be loaded")).to_be_visible()
        expect(page.locator("img.picture").first).to_have_js_property("naturalWidth", SIDE)
    page.get_by_role("button", name="Run again").click()
    expect(page.get_by_text("The start image is no longer stored: choose one in the playground.")).to_be_visible()

    storage.delete_images(claim)
    page.goto(f"/history/{claim.pk}/")
    expect(page.get_by_text("The image could not be loaded: it may no longer be stored.").first).to_be_visible()
    for view in ("gallery", "table"):
        page.goto(f"/history/?view={view}")
        expect(page.get_by_text("No longer stored")).to_be_visible()


def test_a_mask_is_kept_however_late_its_start_image_comes(logged_in_page: Page, alice: Person) -> None:
    page = logged_in_page
    inputs = Inputs(init_image_name=storage.save_input(picture()), mask_image_name=storage.save_input(mask()))
    params = Params(mode="inpaint", prompt="a cat", seed=7, width=SIDE, height=SIDE)
    earlier = services.submit(alice.user, params, inputs)
    held: list[Route] = []
    page.route("**/inputs/init", lambda route: held.append(route))

    page.goto(f"/playground/?from={earlier.pk}")
    page.wait_for_timeout(1000)  # the mask could have come
    for route in held:
        route.continue_()

    expect(page.get_by_alt_text("Start image", exact=True)).to_be_visible()
    expect(page.get_by_alt_text("Mask: what is tinted is repainted")).to_be_visible()
