"""The built-in model, as diffusers loads it."""

import math
import time

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from PIL import Image

from generation.engine.patch_autoencoder import PatchAutoencoder  # also lets diffusers load it by its name
from training.settings import ROOT, STARTER

SAMPLES = ROOT / "static" / "samples"


@pytest.fixture(scope="module")
def text2img() -> StableDiffusionPipeline:
    pipeline = StableDiffusionPipeline.from_pretrained(STARTER, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def img2img(text2img: StableDiffusionPipeline) -> StableDiffusionImg2ImgPipeline:
    pipeline = StableDiffusionImg2ImgPipeline(**text2img.components, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def seed(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def decibels(vae: PatchAutoencoder, image: Image.Image) -> float:
    pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        squared = (vae(pixels).sample.clamp(-1, 1) - pixels).square().mean().item()
    return 10 * math.log10(4 / squared)


def roughness(image: Image.Image) -> float:
    return float(np.abs(np.diff(np.asarray(image, float), axis=1)).mean())


def distance(first: Image.Image, second: Image.Image) -> float:
    return float(np.sqrt(np.mean((np.asarray(first, float) - np.asarray(second, float)) ** 2)))


def test_it_loads_in_two_seconds(text2img):
    started = time.process_time()

    StableDiffusionPipeline.from_pretrained(STARTER, dtype=torch.float32)

    assert time.process_time() - started < 2


def test_it_takes_60_megabytes_at_most():
    assert sum(file.stat().st_size for file in STARTER.rglob("*") if file.is_file()) <= 60_000_000


def test_the_autoencoder_keeps_drawings_and_photos(text2img):
    drawings, photos = (
        [decibels(text2img.vae, Image.open(path)) for path in sorted(SAMPLES.glob(pattern))]
        for pattern in ("doodle-*.png", "*.jpg")
    )

    assert len(drawings) == 2
    assert min(drawings) >= 29
    assert len(photos) == 4
    assert sum(photos) / len(photos) >= 26


def test_the_autoencoder_survives_being_saved(text2img, tmp_path):
    text2img.vae.save_pretrained(tmp_path)

    again = PatchAutoencoder.from_pretrained(tmp_path)

    assert again.config.scaling_factor == text2img.vae.config.scaling_factor
    assert all(torch.equal(weight, again.state_dict()[name]) for name, weight in text2img.vae.state_dict().items())


def test_slicing_and_tiling_of_the_autoencoder_change_nothing(text2img):
    pixels = torch.linspace(-1, 1, 2 * 3 * 64 * 32).view(2, 3, 64, 32)
    before = text2img.vae(pixels).sample

    text2img.vae.enable_slicing()
    text2img.vae.enable_tiling()
    after = text2img.vae(pixels).sample
    text2img.vae.disable_slicing()
    text2img.vae.disable_tiling()

    assert torch.equal(before, after)


def test_an_image_is_16_pixels_a_latent(text2img):
    latents = text2img.vae.encode(torch.zeros(1, 3, 64, 32)).latent_dist.sample(generator=seed(0))

    assert latents.shape == (1, 32, 4, 2)
    assert text2img.vae_scale_factor == 16


def test_the_tokenizer_knows_every_byte_at_the_end_of_a_word(text2img):
    tokenizer = text2img.tokenizer

    for text in ("(", "é", "日本", "#", "x{y}"):
        assert tokenizer.unk_token_id not in tokenizer(text).input_ids[1:-1]


@pytest.mark.parametrize("prompt", ["a cat sitting on a bench", "", "qwzx blorf"])
def test_any_prompt_gives_a_clean_picture(text2img, prompt):
    image = text2img(prompt, num_inference_steps=20, width=256, height=256, generator=seed(0)).images[0]

    assert roughness(image) < 16  # noise has 85


def test_another_seed_gives_another_picture(text2img):
    first, second = (
        text2img("a cat", num_inference_steps=10, width=256, height=256, generator=seed(number)).images[0]
        for number in (1, 2)
    )

    assert distance(first, second) > 10


def test_strength_takes_the_picture_away_from_the_start_image(img2img):
    start = Image.open(SAMPLES / "cat.jpg").resize((256, 256))

    distances = [
        distance(start, img2img("a red apple", image=start, strength=strength, generator=seed(0)).images[0])
        for strength in (0.2, 0.5, 0.9)
    ]

    assert distances == sorted(distances)
    assert distances[2] > distances[0] + 10
