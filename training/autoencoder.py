"""Train the autoencoder from the principal components of patches: `python -m training.autoencoder`."""

import math
import random
import time

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from generation.engine.patch_autoencoder import PatchAutoencoder
from training import settings
from training.data import icon, photos, subjects
from training.latents import background

CROP = settings.AUTOENCODER_CROP_PIXELS


class Crops:
    """Random crops of icons, two in three, and of photos."""

    def __init__(self) -> None:
        self.rng = random.Random(settings.SEED)
        self.photos = photos()
        styles = (*settings.STYLES, "noto")
        self.icons = [drawn for subject in subjects() for style in styles if (drawn := icon(subject, style))]

    def __call__(self, size: int) -> Tensor:
        """Return (size, 3, CROP, CROP) in [-1, 1]."""
        images = [self.icon() if self.rng.random() < 0.65 else self.photo() for _ in range(size)]
        return torch.from_numpy(np.stack([np.asarray(i) for i in images])).permute(0, 3, 1, 2).float() / 127.5 - 1

    def icon(self) -> Image.Image:
        """Return a piece of an icon at some size on some background."""
        pixels = self.rng.choice((128, 160, 192, 256, 256))
        drawn = self.rng.choice(self.icons).resize((pixels, pixels), Image.Resampling.LANCZOS)
        left, top = self.rng.randint(0, pixels - CROP), self.rng.randint(0, pixels - CROP)
        drawn = drawn.crop((left, top, left + CROP, top + CROP))
        crop = Image.fromarray(background(CROP, self.rng)[0])
        crop.paste(drawn, (0, 0), drawn)
        return crop

    def photo(self) -> Image.Image:
        """Return a piece of a photo, at a fourth of its size or more."""
        image = self.rng.choice(self.photos)
        side = min(int(CROP * self.rng.uniform(1, 4)), *image.size)
        left, top = self.rng.randint(0, image.width - side), self.rng.randint(0, image.height - side)
        return image.resize((CROP, CROP), Image.Resampling.LANCZOS, (left, top, left + side, top + side))


def principal_components(images: Tensor, patch: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, components (columns) and variances of the patches of images, the largest variance first."""
    patches = functional.pixel_unshuffle(images, patch).permute(0, 2, 3, 1).flatten(0, 2)
    mean = patches.mean(0)
    variances, components = torch.linalg.eigh(torch.cov((patches - mean).T))
    return mean, components.flip(1), variances.flip(0)


def train() -> None:
    """Write vae/ under settings.HOME, with the scaling factor that gives latents a standard deviation of one."""
    torch.manual_seed(settings.SEED)
    torch.set_num_threads(settings.THREADS)
    crops = Crops()
    model = PatchAutoencoder().to(memory_format=torch.channels_last)
    model.start_from_pca(*principal_components(crops(2500), model.patch_size))

    def encode(images: Tensor) -> Tensor:
        return model.encode(images, return_dict=False)[0].mode()

    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, betas=(0.9, 0.99), weight_decay=1e-4, fused=True)
    begun, step, average = time.time(), 0, None
    while (done := (time.time() - begun) / (settings.AUTOENCODER_MINUTES * 60)) < 1:
        rate = settings.AUTOENCODER_LEARNING_RATE * min(1, (step + 1) / 200)
        for group in optimizer.param_groups:
            group["lr"] = rate * (0.49 * (1 + math.cos(math.pi * done)) + 0.02)
        images = crops(settings.AUTOENCODER_BATCH).contiguous(memory_format=torch.channels_last)
        latents = encode(images)
        noisy = latents + settings.LATENT_NOISE * torch.randn_like(latents)
        decoded = model.decode(noisy).sample
        squared = functional.mse_loss(decoded, images)
        loss = functional.l1_loss(decoded, images) + squared + 1e-4 * latents.square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        average = squared.item() if average is None else 0.98 * average + 0.02 * squared.item()
        if step % 100 == 0:
            print(f"step {step} {10 * math.log10(4 / average):.2f} dB {1 - done:.0%} left", flush=True)
    with torch.no_grad():
        spread = torch.cat([encode(crops(64)) for _ in range(8)]).std().item()
    model.register_to_config(scaling_factor=round(1 / spread, 5))
    model.save_pretrained(settings.HOME / "vae")


if __name__ == "__main__":
    train()
