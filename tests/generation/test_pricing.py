"""generation.pricing: the table, and agreement with what the engine really does."""

from typing import Any

import pytest

from generation import pricing
from generation.engine.request import ImageRequest
from generation.params import Params


def price(**fields: Any) -> int:
    return pricing.credits(Params(**({"mode": "text2img", "prompt": "", "seed": 0} | fields)))


@pytest.mark.parametrize(
    ("fields", "credits"),
    [
        ({}, 1),  # the default request is what one credit buys
        ({"num_inference_steps": 32}, 2),
        ({"num_inference_steps": 1, "width": 64, "height": 64}, 1),
        ({"samples": 4}, 4),
        ({"samples": 4, "width": 64, "height": 64, "num_inference_steps": 1}, 4),  # at least one an image
        ({"width": 520}, 2),
        ({"width": 1024, "height": 1024}, 4),
        ({"width": 1024, "height": 1024, "num_inference_steps": 51, "samples": 4}, 28),
        ({"mode": "img2img", "strength": 0.7, "width": 1024, "height": 1024}, 3),  # 21 of 31 steps
        ({"mode": "img2img", "strength": 1.0, "width": 1024, "height": 1024}, 4),
        ({"mode": "inpaint", "strength": 0.0, "width": 1024, "height": 1024}, 1),
        ({"strength": 0.5, "width": 1024, "height": 1024}, 4),  # without a start image there is nothing to skip
    ],
)
def test_a_price_is_pixels_times_steps_rounded_up(fields: dict[str, Any], credits: int) -> None:
    assert price(**fields) == credits


def test_the_divisor_is_a_setting(settings: Any) -> None:
    settings.CREDIT_PIXEL_STEPS = 512 * 512

    assert price() == 31


@pytest.mark.parametrize("num_inference_steps", [1, 2, 3, 10, 21, 30, 31, 41, 50, 51])
def test_the_steps_that_are_paid_are_the_steps_that_the_engine_runs(num_inference_steps: int, engine: Any) -> None:
    from PIL import Image

    picture = Image.new("RGB", (64, 64))
    for hundredths in range(101):
        strength = hundredths / 100
        request = ImageRequest(
            mode="img2img",
            prompt="",
            width=64,
            height=64,
            num_inference_steps=num_inference_steps,
            strength=strength,
            guidance_scale=1,
            init_image=picture,
        )
        params = Params("img2img", "", 0, num_inference_steps=num_inference_steps, strength=strength)

        [sample] = engine.prepare(request)

        assert len(sample.timesteps) == pricing.steps(params), strength


@pytest.mark.parametrize("credit_pixel_steps", [512 * 512 * 31, 1, 10**9, 512 * 512 * 31 // 2])
def test_the_settings_know_the_price_of_an_image_of_the_default_size(settings: Any, credit_pixel_steps: int) -> None:
    from config.settings import default_image_credits

    settings.CREDIT_PIXEL_STEPS = credit_pixel_steps

    assert default_image_credits(credit_pixel_steps) == pricing.credits(Params(mode="text2img", prompt="", seed=0))
