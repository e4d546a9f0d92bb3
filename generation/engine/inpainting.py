"""Repainting the white part of a mask: what is kept while denoising, and exactly kept at the end."""

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import SchedulerMixin
from PIL import Image, ImageOps


@dataclass(frozen=True)
class KeptLatents:
    """The latents outside the mask, put back after every step of a model that knows nothing of masks."""

    image_latents: torch.Tensor  # (1, C, h, w)
    noise: torch.Tensor  # (1, C, h, w), the noise that the sample started from
    mask: torch.Tensor  # (1, 1, h, w), 1 is repainted

    def restore(self, latents: torch.Tensor, scheduler: SchedulerMixin, timestep: torch.Tensor | None) -> torch.Tensor:
        """Return latents with the kept part as it would be at `timestep`, or without noise after the last step.

        Source: diffusers StableDiffusionInpaintPipeline.
        """
        kept = self.image_latents
        if timestep is not None:
            kept = scheduler.add_noise(kept, self.noise, timestep[None])
        return (1 - self.mask) * kept + self.mask * latents


def cover(image: Image.Image, width: int, height: int) -> Image.Image:
    """Return the image at width x height, filled without distortion; what sticks out on two sides is cropped."""
    return image if image.size == (width, height) else ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)


def repainted(mask: Image.Image, width: int, height: int) -> np.ndarray:
    """Return a mask as booleans (height, width): true where it is nearer to white and the image is repainted."""
    return np.asarray(cover(mask.convert("L"), width, height)) >= 128


def padded(array: np.ndarray, multiple: int) -> np.ndarray:
    """Repeat the last row and column of an array (H, W, ...) until both sides are multiples."""
    missing = [(0, -side % multiple) for side in array.shape[:2]]
    return np.pad(array, missing + [(0, 0)] * (array.ndim - 2), mode="edge")


def to_latent_mask(white: np.ndarray, size: tuple[int, int], device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Return the mask at the size (h, w) of the latents, (1, 1, h, w), 1 is repainted."""
    mask = torch.from_numpy(white.astype(np.float32))[None, None]
    return torch.nn.functional.interpolate(mask, size=size).to(device, dtype)


def composite(image: Image.Image, original: Image.Image, white: np.ndarray) -> Image.Image:
    """Return the image where the mask is true and the original, bit for bit, elsewhere."""
    return Image.fromarray(np.where(white[..., None], np.asarray(image), np.asarray(original)))
