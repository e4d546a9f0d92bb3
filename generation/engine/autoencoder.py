"""Between pixels and latents: the only module that calls the VAE."""

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from generation.engine import memory
from generation.engine.errors import BrokenLatents
from generation.engine.inpainting import padded
from generation.engine.loading import Checkpoint

logger = logging.getLogger(__name__)

DRAFT_LATENTS = 32 * 32  # decoded for a draft at most: a quarter of a 512 x 512 image's, where a latent is 8 pixels
Made = TypeVar("Made")
CODED_TOGETHER = 4  # at most: more gain little and take the VAE's memory so many times


class Autoencoder:
    """Encodes images to latents as the UNet knows them, and decodes those; images of any size."""

    def __init__(self, checkpoint: Checkpoint):
        self._vae = checkpoint.vae
        self._dtype = checkpoint.dtype
        self._coded_together = CODED_TOGETHER
        config = self._vae.config
        # As diffusers' XL pipelines do in any precision, while they decode so instead of in float16 alone.
        self._encodes_in_float32 = checkpoint.is_xl and config.get("force_upcast")
        self._mean = self._per_channel(config.get("latents_mean"), config.get("shift_factor") or 0.0)
        self._std = self._per_channel(config.get("latents_std"), 1.0)
        self._scaling_factor: float = config.scaling_factor
        self.scale_factor = 2 ** (len(config.block_out_channels) - 1)  # pixels a latent, on each side

    def latent_size(self, width: int, height: int) -> tuple[int, int]:
        """Return (h, w) of the latents that cover an image of so many pixels."""
        return -(-height // self.scale_factor), -(-width // self.scale_factor)

    def pad(self, array: np.ndarray) -> np.ndarray:
        """Repeat the last row and column of an array (H, W, ...) until the VAE can take it."""
        return padded(array, self.scale_factor)

    def to_pixels(self, image: Image.Image) -> torch.Tensor:
        """Return an RGB image as (1, 3, H, W) in [-1, 1], padded to what the VAE can take."""
        array = self.pad(np.asarray(image)).astype(np.float32) / 255.0
        return torch.from_numpy(array).permute(2, 0, 1)[None] * 2 - 1

    def encode_all(self, pixels: Sequence[torch.Tensor]) -> list[Any]:
        """Return the distribution of latents, to draw from, of each of many pixels (1, 3, H, W) in [-1, 1].

        Those of one size are encoded together.
        """
        return self._together(self._encode, pixels)

    def _encode(self, pixels: torch.Tensor) -> list[Any]:
        dtype = self._vae.dtype
        upcast = list(self._vae.children()) if self._encodes_in_float32 else []
        for part in upcast:
            part.to(torch.float32)
        try:
            encoded = self._vae.encode(pixels.to(self._vae.device, self._dtype).to(self._vae.dtype))
        finally:
            for part in upcast:
                part.to(dtype)
        if not hasattr(encoded, "latent_dist"):
            return list(encoded.latents.split(1))
        return [type(encoded.latent_dist)(row) for row in encoded.latent_dist.parameters.split(1)]

    def draw(self, encoded: Any, generator: torch.Generator) -> torch.Tensor:
        """Draw one sample of latents, (1, C, h, w), scaled for the UNet."""
        latents = encoded if isinstance(encoded, torch.Tensor) else encoded.sample(generator=generator)
        return (latents.to(self._dtype) - self._mean) * self._scaling_factor / self._std

    def decode(self, latents: torch.Tensor) -> list[Image.Image]:
        """Return the images of latents (B, C, h, w), as large as the latents are.

        A VAE that overflows in half precision computes in float32 from then on.

        Raises:
            BrokenLatents: what it makes of them is not finite.
        """
        latents = latents * self._std / self._scaling_factor + self._mean
        pixels = self._vae.decode(latents.to(self._vae.dtype)).sample
        if self._vae.dtype != torch.float32 and not pixels.isfinite().all():
            logger.warning("The VAE overflows in %s, so it computes in float32 from now on.", self._vae.dtype)
            self._vae.to(torch.float32)
            pixels = self._vae.decode(latents.float()).sample
        if not pixels.isfinite().all():
            raise BrokenLatents("The VAE returned NaN or infinity.")
        levels = (pixels.float() / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
        return [Image.fromarray(image) for image in levels.permute(0, 2, 3, 1).cpu().numpy()]

    def decode_all(self, latents: Sequence[torch.Tensor]) -> list[Image.Image]:
        """Return the image of each of many latents (1, C, h, w), decoding those of one size together."""
        return self._together(self.decode, latents)

    def draft(self, latents: torch.Tensor, width: int, height: int) -> Image.Image:
        """Return a picture of latents (1, C, h, w) in the proportions of width x height, at a bounded cost.

        Many latents are averaged before they are decoded: a small picture of the same thing, in a fraction of the time.
        """
        h, w = latents.shape[2:]
        pooling = math.ceil(math.sqrt(h * w / DRAFT_LATENTS))
        if pooling <= 1:
            return self.decode(latents)[0].crop((0, 0, width, height))
        pooled = functional.avg_pool2d(latents.float(), pooling, ceil_mode=True).to(latents.dtype)
        return self.decode(pooled)[0].crop((0, 0, width // pooling, height // pooling))

    def _per_channel(self, values: list[float] | None, default: float) -> torch.Tensor:
        device, dtype = self._vae.device, self._dtype
        return torch.tensor(default if values is None else values, device=device, dtype=dtype).view(1, -1, 1, 1)

    def _together(self, call: Callable[[torch.Tensor], list[Made]], tensors: Sequence[torch.Tensor]) -> list[Made]:
        """Return what a call makes of each of many tensors; where memory runs out, one by one from now on."""
        try:
            return _in_calls(call, tensors, self._coded_together)
        except RuntimeError as error:
            if min(len(tensors), self._coded_together) == 1 or not memory.is_out_of_memory(error):
                raise
        # The traceback, and with it the tensors of the failed attempt, is gone only now.
        memory.release_cache(self._vae.device)
        logger.warning("Out of memory, coding one picture at a time from now on.")
        self._coded_together = 1
        return _in_calls(call, tensors, 1)


def _in_calls(call: Callable[[torch.Tensor], list[Made]], tensors: Sequence[torch.Tensor], together: int) -> list[Made]:
    """Return what a call makes of each of many tensors (1, ...), so many of one size together."""
    by_size: dict[torch.Size, list[int]] = {}
    for number, each in enumerate(tensors):
        by_size.setdefault(each.shape, []).append(number)
    made: dict[int, Made] = {}
    for numbers in by_size.values():
        for start in range(0, len(numbers), together):
            part = numbers[start : start + together]
            made |= zip(part, call(torch.cat([tensors[number] for number in part])), strict=True)
    return [made[number] for number in range(len(tensors))]
