"""POST /api/v3/inpaint"""

from collections.abc import Callable
from io import BytesIO
from typing import Any

from PIL import Image

from generation.models import Generation
from tests.conftest import Api, Person
from tests.v3 import bodies

Make = Callable[..., dict[str, Any]]


def test_white_is_repainted_and_black_is_kept_to_the_pixel(api: Api, alice: Person, make: Make) -> None:
    reply = make("inpaint", bodies.inpaint(alice.key, strength=1, seed=7))

    image = Image.open(BytesIO(api.client.get(reply["output"][0]).content))
    before = Image.open(BytesIO(bodies.picture()))
    left, right = (0, 0, 32, 64), (32, 0, 64, 64)
    assert image.crop(left).tobytes() == before.crop(left).tobytes()
    assert image.crop(right).tobytes() != before.crop(right).tobytes()


def test_meta_has_the_start_image_and_the_mask(api: Api, alice: Person) -> None:
    as_base64 = api.post("inpaint", bodies.inpaint(alice.key)).json()["meta"]
    links = {"init_image": "https://example.org/a.png", "mask_image": "https://example.org/mask.png"}
    as_links = api.post("inpaint", bodies.inpaint(alice.key, **links)).json()["meta"]

    assert (as_base64["init_image"], as_base64["mask_image"], as_base64["strength"]) == (None, None, 0.7)
    assert (as_links["init_image"], as_links["mask_image"]) == tuple(links.values())


def test_both_images_are_required(api: Api, alice: Person) -> None:
    reply = api.post("inpaint", bodies.text2img(alice.key))

    assert reply.json() == {
        "status": "error",
        "message": {
            "init_image": ["The init image field is required."],
            "mask_image": ["The mask image field is required."],
        },
    }
    assert not Generation.objects.exists()


def test_a_refusal_keeps_no_start_image(api: Api, bob: Person) -> None:
    before = bodies.written()

    reply = api.post("inpaint", bodies.inpaint(bob.key))

    assert reply.json()["message"] == "Insufficient credits: this request needs 1 and you have 0."
    assert bodies.written() == before
