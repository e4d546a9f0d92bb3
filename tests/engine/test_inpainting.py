"""What a mask keeps."""

import numpy as np
import pytest
from PIL import Image

from generation.engine import ImageRequest
from generation.engine.inpainting import repainted


def inpaint(engine, photo, mask, **fields) -> np.ndarray:
    defaults = {"prompt": "a cat", "width": photo.width, "height": photo.height, "num_inference_steps": 3}
    request = ImageRequest(**defaults | {"mode": "inpaint", "init_image": photo, "mask_image": mask} | fields)
    return np.asarray(engine.generate(request).images[0])


@pytest.mark.parametrize("kind", ["engine", "engine_inpainting", "engine_xl"])
@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_it_keeps_every_pixel_outside_the_mask(request, kind, photo, mask, strength):
    image = inpaint(request.getfixturevalue(kind), photo, mask, strength=strength)

    white = np.asarray(mask) > 0
    assert np.array_equal(image[~white], np.asarray(photo)[~white])
    assert (image[white] != np.asarray(photo)[white]).mean() > 0.5


def test_it_returns_the_picture_of_a_black_mask(engine, photo):
    assert np.array_equal(inpaint(engine, photo, Image.new("L", (64, 64))), np.asarray(photo))


def test_it_crops_picture_and_mask_alike(engine, photo, mask):
    image = inpaint(engine, photo.resize((128, 64)), mask.resize((128, 64)), width=64, height=64)

    white = repainted(mask.resize((128, 64)), 64, 64)
    cropped = np.asarray(photo.resize((128, 64)).crop((32, 0, 96, 64)))
    assert np.array_equal(image[~white], cropped[~white])


def test_it_repaints_what_is_nearer_to_white():
    mask = Image.fromarray(np.array([[0, 127], [128, 255]], dtype=np.uint8))

    assert repainted(mask.convert("RGB"), 2, 2).tolist() == [[False, False], [True, True]]


@pytest.mark.parametrize("mode", ["text2img", "img2img"])
def test_it_makes_whole_images_with_an_inpainting_unet(engine_inpainting, photo, mode):
    request = ImageRequest(prompt="a cat", mode=mode, init_image=photo, width=64, height=64, num_inference_steps=3)

    image = np.asarray(engine_inpainting.generate(request).images[0])

    assert image.std() > 20
