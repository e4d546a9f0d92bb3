"""Any multiple of 8 works, also where the autoencoder wants multiples of 16."""

import diffusers
import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from PIL import Image

from generation.engine import Engine, EngineSettings, ImageRequest
from generation.engine.patch_autoencoder import PatchAutoencoder
from tests.tiny_model import build_tiny_model


@pytest.fixture(scope="module")
def engine_of_patches(tmp_path_factory) -> Engine:
    """A model like the built-in one: 32 latent channels at 1/16."""
    folder = build_tiny_model(tmp_path_factory.mktemp("patches"))
    torch.manual_seed(7)
    PatchAutoencoder(encoder_channels=8, decoder_channels=8).save_pretrained(folder / "vae")
    config = UNet2DConditionModel.load_config(folder / "unet") | {"in_channels": 32, "out_channels": 32}
    UNet2DConditionModel.from_config(config).save_pretrained(folder / "unet")
    index = (folder / "model_index.json").read_text()
    index = index.replace('"diffusers",\n    "AutoencoderKL"', '"patch_autoencoder",\n    "PatchAutoencoder"')
    (folder / "model_index.json").write_text(index)
    return Engine.load(EngineSettings(model=str(folder), safety="none", dtype="float32"))


@pytest.mark.parametrize("width", [64, 72, 136])
@pytest.mark.parametrize("height", [64, 88])
@pytest.mark.parametrize("mode", ["text2img", "img2img", "inpaint"])
@pytest.mark.parametrize("kind", ["engine", "engine_of_patches"])
def test_it_makes_images_of_any_size(request, kind, mode, width, height, photo, mask):
    asked = ImageRequest(
        prompt="a cat",
        mode=mode,
        width=width,
        height=height,
        num_inference_steps=1,
        guidance_scale=1.0,
        init_image=photo,
        mask_image=mask,
    )

    image = request.getfixturevalue(kind).generate(asked).images[0]

    assert image.size == (width, height)
    assert image.mode == "RGB"


def test_it_names_its_autoencoder(engine_of_patches):
    assert engine_of_patches.vae_name == "PatchAutoencoder"
    assert "PatchAutoencoder 1/16" in engine_of_patches.description()


def test_it_pads_with_the_last_pixels(engine_of_patches):
    pixels = engine_of_patches._autoencoder.to_pixels(
        Image.effect_mandelbrot((72, 64), (-3, -2.5, 2, 2.5), 100).convert("RGB")
    )

    assert pixels.shape == (1, 3, 64, 80)
    assert torch.equal(pixels[..., 72:], pixels[..., 71:72].expand(-1, -1, -1, 8))


def test_it_reads_pixels_as_diffusers_does(engine, photo):
    expected = diffusers.image_processor.VaeImageProcessor().preprocess(photo)

    assert torch.equal(engine._autoencoder.to_pixels(photo), expected)
    assert np.isclose(expected.max(), 255 / 127.5 - 1, atol=0.1)
