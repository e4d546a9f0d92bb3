"""The engine: from a request to images, by samples that are prepared, stepped and finished."""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Self

import torch
from PIL import Image

from generation.engine import memory
from generation.engine.autoencoder import Autoencoder
from generation.engine.computing import use
from generation.engine.denoising import Denoiser, Sample
from generation.engine.errors import BrokenLatents
from generation.engine.loaded import LoadedModel
from generation.engine.loading import Checkpoint, EngineSettings, load_checkpoint
from generation.engine.preparation import Preparation
from generation.engine.request import ImageRequest, ImageResult, OnDraft, OnStep
from generation.engine.safety import SafetyChecker, build_checker
from generation.engine.schedulers import Schedulers, find

logger = logging.getLogger(__name__)


class Engine(LoadedModel):
    """One checkpoint in memory, ready for text2img, img2img and inpaint; used by one thread at a time.

    `generate` does a whole request. Its parts, `prepare`, `predict` and `advance`, and `finish`, are open to a caller
    that steps the samples of several requests together (batching.py).
    """

    def __init__(self, checkpoint: Checkpoint, safety_checker: SafetyChecker | None, scheduler: str | None = None):
        self.model_name = checkpoint.name
        self.revision = checkpoint.revision
        self.vae_name = type(checkpoint.vae).__name__
        self.device, self.dtype = checkpoint.device, checkpoint.dtype
        self.network = checkpoint.unet
        self._checkpoint = checkpoint
        self._safety_checker = safety_checker
        self._schedulers = Schedulers(checkpoint.scheduler, scheduler, checkpoint.is_xl)
        self.scheduler_name = type(self._schedulers.new()).__name__
        self._autoencoder = Autoencoder(checkpoint)
        self._preparation = Preparation(checkpoint, self._autoencoder, self._schedulers)
        self._denoiser = Denoiser(checkpoint.unet)

    @classmethod
    def load(cls, settings: EngineSettings) -> Self:
        """Read the weights and return an engine that holds them.

        Raises:
            UnsupportedModel, UnknownScheduler: the settings name what this engine can't run.
            OSError: there is no such model.
        """
        if settings.threads:
            torch.set_num_threads(settings.threads)
        if settings.scheduler:
            find(settings.scheduler)  # refuse before gigabytes are read
        checkpoint = load_checkpoint(settings)
        engine = cls(checkpoint, build_checker(settings, checkpoint.device), settings.scheduler)
        engine.tuning = use(checkpoint.unet, settings.tuning, settings.quantize)
        if settings.frugal:
            engine.save_memory()
        logger.info("Loaded %s", engine.description())
        return engine

    def description(self) -> str:
        """Return one line for logs: what runs, where, in which precision."""
        checkpoint = self._checkpoint
        kind = "SDXL" if checkpoint.is_xl else "SD"
        return (
            f"{self.model_name} ({self.revision}), {kind}{' inpainting' if checkpoint.is_inpainting else ''}, "
            f"{self.vae_name} 1/{self._autoencoder.scale_factor}, {type(self._schedulers.new()).__name__}, "
            f"{checkpoint.device}, {str(checkpoint.dtype).removeprefix('torch.')}"
        )

    @property
    def native_latents(self) -> int:
        """How many latents, h times w, an image of the size that the model was made for has."""
        size = self._checkpoint.unet.config.sample_size or (128 if self._checkpoint.is_xl else 64)  # as diffusers does
        return size**2 if isinstance(size, int) else size[0] * size[1]

    @property
    def native_pixels(self) -> int:
        """Width and height of an image of that size."""
        return int(self.native_latents**0.5) * self._autoencoder.scale_factor

    def facts(self) -> dict[str, str]:
        """Return what was chosen for the device, for people."""
        attention = type(next(iter(self._checkpoint.unet.attn_processors.values()), None)).__name__
        return {"attention": attention} | super().facts()

    def save_memory(self) -> None:
        """Tile the VAE from now on; attention needs no slices, since torch never holds its whole matrix."""
        memory.tile(self._checkpoint.vae)
        self.saves_memory = True

    def generate(
        self, request: ImageRequest, on_step: OnStep | None = None, on_draft: OnDraft | None = None
    ) -> ImageResult:
        """Make the images of a request; where memory runs out, once more with tiling.

        Raises:
            UnknownScheduler: the request names one that we don't have.
            OutOfMemory, BrokenLatents: there is no image to show.
            Whatever on_step and on_draft raise.
        """
        return self.frugally(self._generate, request, on_step, on_draft)

    def _generate(self, request: ImageRequest, on_step: OnStep | None, on_draft: OnDraft | None) -> ImageResult:
        begun = time.perf_counter()
        report = on_step or (lambda step, steps: None)
        samples = self.prepare(request)
        steps = len(samples[0].timesteps)
        report(0, steps)
        for step in range(steps):
            self.step(samples)
            if on_draft and step + 1 < steps:
                on_draft(partial(self.paint, request, samples[0].draft_latents))
            report(step + 1, steps)
        result = self.finish(request, samples)
        return replace(result, accelerator_seconds=time.perf_counter() - begun)

    def prepare(self, request: ImageRequest) -> list[Sample]:
        """Return the samples of a request at their first step; sample k depends on `seed + k` alone."""
        return self.prepare_all([request])[0]

    @torch.inference_mode()
    def prepare_all(self, requests: Sequence[ImageRequest]) -> list[list[Sample]]:
        """Return the samples of several requests, whose pictures are encoded together where they have one size."""
        return self._preparation.samples(requests)

    def step(self, samples: Sequence[Sample]) -> None:
        """Advance samples of one latent size and one prompt length by one step each."""
        for sample, prediction in zip(samples, self.predict(samples), strict=True):
            self.advance(sample, prediction)

    @torch.inference_mode()
    def predict(self, samples: Sequence[Sample]) -> list[torch.Tensor]:
        """Return what each of such samples needs for its next step, (1, C, h, w); the samples stay as they are."""
        return self._denoiser.predict(samples)

    @torch.inference_mode()
    def advance(self, sample: Sample, prediction: torch.Tensor) -> None:
        """Take a sample's next step."""
        sample.advance(prediction)

    @torch.inference_mode()
    def paint(self, request: ImageRequest, latents: torch.Tensor) -> Image.Image:
        """Return a small picture of a sample's `draft_latents`; black if it is unsafe."""
        image = self._autoencoder.draft(latents.nan_to_num(), request.width, request.height)
        unsafe = request.safety_checker and self._safety_checker and self._safety_checker.is_nsfw([image])[0]
        return Image.new("RGB", image.size) if unsafe else image

    def finish(self, request: ImageRequest, samples: Sequence[Sample]) -> ImageResult:
        """Return the images of a request whose samples are done; unsafe ones are black.

        Raises:
            BrokenLatents: a sample, or its image, is not made of finite numbers.
        """
        return self.finish_all([(request, samples)])[0]

    @torch.inference_mode()
    def finish_all(self, done: Sequence[tuple[ImageRequest, Sequence[Sample]]]) -> list[ImageResult]:
        """Return the images of several requests, decoded together where they have one size.

        Raises:
            BrokenLatents: a sample of one of them, or its image, is not made of finite numbers.
        """
        latents = [sample.latents for _, samples in done for sample in samples]
        if not all(each.isfinite().all() for each in latents):
            raise BrokenLatents("The model returned NaN or infinity; float32 may help.")
        decoded = iter(self._autoencoder.decode_all(latents))
        return [self._shown(request, [next(decoded) for _ in samples]) for request, samples in done]
