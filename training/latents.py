"""Draw every icon a few times over, encode the pictures once, and keep the latents for the denoiser."""

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from generation.engine.patch_autoencoder import PatchAutoencoder
from training import settings
from training.captions import BACKGROUNDS
from training.data import Subject, compose, icon, subjects


@dataclass(frozen=True)
class Latents:
    """Pictures as the denoiser sees them: `sizes[pixels]` is (V, N, 32, pixels / 16, pixels / 16), scaled, float16."""

    pictures: list[tuple[Subject, str]]  # N subjects with their style
    sizes: dict[int, Tensor]
    backgrounds: dict[int, list[list[str | None]]]  # by size, V x N; None has no name


def load() -> Latents:
    """Return the latents, drawing and encoding at the first call (minutes)."""
    file = settings.HOME / ("latents-everyday.pt" if settings.EVERYDAY_ONLY else "latents.pt")
    if not file.exists():
        partial = file.with_suffix(".partial")
        torch.save(draw(PatchAutoencoder.from_pretrained(autoencoder_folder(), dtype=torch.float32)), partial)
        partial.rename(file)
    return torch.load(file, weights_only=False)


def autoencoder_folder() -> Path:
    """Return the autoencoder trained here, or else the one that ships."""
    trained = settings.HOME / "vae"
    return trained if trained.exists() else settings.STARTER / "vae"


def draw(autoencoder: PatchAutoencoder) -> Latents:
    """Compose and encode VARIANTS pictures of each icon at 256 pixels, and LARGE_VARIANTS at 512."""
    pictures = [(subject, style) for subject in subjects() for style in settings.STYLES if icon(subject, style, 32)]
    sizes, backgrounds = {}, {}
    for pixels, variants in ((256, settings.VARIANTS), (512, settings.LARGE_VARIANTS)):
        latents = torch.empty(variants, len(pictures), 32, pixels // 16, pixels // 16, dtype=torch.float16)
        names: list[list[str | None]] = [[None] * len(pictures) for _ in range(variants)]
        rng = random.Random(f"{settings.SEED} {pixels}")
        for number, (subject, style) in enumerate(pictures):
            drawn = icon(subject, style, pixels)
            assert drawn  # or it would not be among the pictures
            composed = [picture(drawn, rng) for _ in range(variants)]
            for variant, (_, name) in enumerate(composed):
                names[variant][number] = name
            latents[:, number] = encode(autoencoder, [image for image, _ in composed])
        sizes[pixels], backgrounds[pixels] = latents, names
    return Latents(pictures, sizes, backgrounds)


def picture(drawn: Image.Image, rng: random.Random) -> tuple[Image.Image, str | None]:
    """Return the icon somewhere near the middle of a background, and the background's name if it has one."""
    colors, name = background(drawn.width, rng)
    shift = (rng.uniform(-0.02, 0.02), rng.uniform(-0.02, 0.02))
    return compose(drawn, colors, rng.uniform(0.84, 0.95), shift, rng.random() < settings.FLIPPED), name


def background(pixels: int, rng: random.Random) -> tuple[np.ndarray, str | None]:
    """Return levels (pixels, pixels, 3) and their name: white, a colour or a gradient of two."""
    draw = rng.random()
    if draw < 0.4:
        return np.full((pixels, pixels, 3), 255, np.uint8), "white"
    name = rng.choice(list(BACKGROUNDS))
    first = np.array([level + rng.randint(-12, 12) for level in BACKGROUNDS[name]], float)
    if draw < 0.88:
        return np.broadcast_to(first, (pixels, pixels, 3)).clip(0, 255).astype(np.uint8), name
    second = np.array(BACKGROUNDS[rng.choice(list(BACKGROUNDS))], float)
    ramp = np.broadcast_to(np.linspace(0, 1, pixels)[:, None, None], (pixels, pixels, 1))
    levels = first * (1 - ramp) + second * ramp
    return (levels if rng.random() < 0.7 else levels.transpose(1, 0, 2)).clip(0, 255).astype(np.uint8), None


@torch.no_grad()
def encode(autoencoder: PatchAutoencoder, images: list[Image.Image]) -> Tensor:
    """Return the scaled latents of RGB images of one size."""
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2)
    return (
        autoencoder.encode(pixels.float() / 127.5 - 1, return_dict=False)[0].mode() * autoencoder.config.scaling_factor
    )
