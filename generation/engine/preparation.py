"""From requests to samples at their first step: the encoded prompt, the noised picture, the mask."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor

from generation.engine.autoencoder import Autoencoder
from generation.engine.denoising import Sample
from generation.engine.inpainting import KeptLatents, cover, repainted, to_latent_mask
from generation.engine.loading import Checkpoint
from generation.engine.prompts import Conditioning, PromptEncoder
from generation.engine.request import ImageRequest
from generation.engine.schedulers import Schedulers, set_timesteps


@dataclass(frozen=True)
class Pixels:
    """What the VAE is to encode of a request's pictures, each (1, 3, H, W) in [-1, 1]."""

    image: torch.Tensor | None
    mask: torch.Tensor | None  # (1, 1, h, w), 1 is repainted
    masked_image: torch.Tensor | None  # the repainted part grey; inpainting UNets only


@dataclass(frozen=True)
class Picture:
    """What all samples of a request share of its pictures; each draws its own latents from the encoded ones."""

    image: Any | None  # encoded
    mask: torch.Tensor | None
    masked_image: Any | None  # encoded


class Preparation:
    """Prepares requests for one checkpoint.

    Draws from each generator are made in the order of the diffusers pipelines, so that a seed gives their image.
    """

    def __init__(self, checkpoint: Checkpoint, autoencoder: Autoencoder, schedulers: Schedulers):
        self._checkpoint = checkpoint
        self._autoencoder = autoencoder
        self._schedulers = schedulers
        self._prompts = PromptEncoder(checkpoint)

    def samples(self, requests: Sequence[ImageRequest]) -> list[list[Sample]]:
        """Return, for each request, a sample for each of its seeds; pictures are encoded together."""
        texts = [self._encode_prompts(request) for request in requests]
        pictures = self._encode_pictures([self._pixels(request) for request in requests])
        return [
            [self._start(request, seed, picture, *text) for seed in request.seeds]
            for request, text, picture in zip(requests, texts, pictures, strict=True)
        ]

    def _encode_prompts(self, request: ImageRequest) -> tuple[Conditioning, Conditioning | None]:
        distilled = self._checkpoint.unet.config.time_cond_proj_dim is not None  # takes guidance as an input instead
        if request.guidance_scale <= 1 or distilled:
            return self._prompts.encode(request.prompt, request.clip_skip), None
        return self._prompts.encode_pair(request.prompt, request.negative_prompt, request.clip_skip)

    def _encode_pictures(self, pixels: Sequence[Pixels]) -> list[Picture]:
        wanted = [each for of_one in pixels for each in (of_one.image, of_one.masked_image) if each is not None]
        encoded = iter(self._autoencoder.encode_all(wanted))
        return [
            Picture(
                image=None if of_one.image is None else next(encoded),
                mask=of_one.mask,
                masked_image=None if of_one.masked_image is None else next(encoded),
            )
            for of_one in pixels
        ]

    def _pixels(self, request: ImageRequest) -> Pixels:
        autoencoder, checkpoint = self._autoencoder, self._checkpoint
        h, w = autoencoder.latent_size(request.width, request.height)
        if request.mode == "text2img" or request.init_image is None:
            pixels, image = torch.zeros(1, 3, h * autoencoder.scale_factor, w * autoencoder.scale_factor), None
        else:
            pixels = autoencoder.to_pixels(cover(request.init_image, request.width, request.height))
            unseen = request.mode == "inpaint" and request.strength == 1 and checkpoint.is_inpainting
            image = None if unseen else pixels
        if request.mode != "inpaint" and not checkpoint.is_inpainting:
            return Pixels(image, None, None)

        if request.mode == "inpaint" and request.mask_image is not None:
            white = autoencoder.pad(repainted(request.mask_image, request.width, request.height))
        else:
            white = np.ones(pixels.shape[2:], dtype=bool)
        masked_image = pixels * ~torch.from_numpy(white) if checkpoint.is_inpainting else None
        return Pixels(image, to_latent_mask(white, (h, w), checkpoint.device, checkpoint.dtype), masked_image)

    def _start(
        self,
        request: ImageRequest,
        seed: int,
        picture: Picture,
        conditional: Conditioning,
        unconditional: Conditioning | None,
    ) -> Sample:
        checkpoint, autoencoder = self._checkpoint, self._autoencoder
        h, w = autoencoder.latent_size(request.width, request.height)
        generator = torch.Generator("cpu").manual_seed(seed)
        scheduler = self._schedulers.new(request.scheduler)
        strength = 1.0 if request.mode == "text2img" else request.strength
        anew = checkpoint.is_lcm and request.mode == "img2img"
        timesteps = set_timesteps(scheduler, request.num_inference_steps, strength, anew)

        def draw_noise() -> torch.Tensor:
            return randn_tensor((1, checkpoint.latent_channels, h, w), generator, checkpoint.device, checkpoint.dtype)

        image_latents = None if picture.image is None else autoencoder.draw(picture.image, generator)
        noise = draw_noise()
        if request.mode == "img2img" or (request.mode == "inpaint" and strength < 1):
            latents = scheduler.add_noise(image_latents, noise, timesteps[:1])
        else:
            latents = noise * scheduler.init_noise_sigma

        mask_channels = kept = None
        if picture.masked_image is not None:
            mask_channels = torch.cat([picture.mask, autoencoder.draw(picture.masked_image, generator)], dim=1)
        elif picture.mask is not None:
            kept = KeptLatents(image_latents, noise, picture.mask)
            draw_noise()  # diffusers draws latents of the masked image here as well, and an ordinary UNet ignores them
        return Sample(
            latents=latents,
            scheduler=scheduler,
            timesteps=timesteps,
            generator=generator,
            guidance_scale=request.guidance_scale,
            conditional=conditional,
            unconditional=unconditional,
            guided_steps=guided_steps(len(timesteps), checkpoint.cutoff_step_ratio),
            time_ids=self._time_ids(h, w) if checkpoint.is_xl else None,
            mask_channels=mask_channels,
            kept=kept,
        )

    def _time_ids(self, h: int, w: int) -> torch.Tensor:
        """Return what XL is told of the image's size, (1, 6): as large as it is, and not cropped."""
        size = [h * self._autoencoder.scale_factor, w * self._autoencoder.scale_factor]
        return torch.tensor([[*size, 0, 0, *size]], device=self._checkpoint.device, dtype=self._checkpoint.dtype)


def guided_steps(steps: int, cutoff_step_ratio: float) -> int:
    """Return how many of its steps a sample is guided in, counted as diffusers' SDCFGCutoffCallback does."""
    return min(steps, int(steps * cutoff_step_ratio) + 1)
