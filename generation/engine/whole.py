"""Models that the denoising loop can't step, such as SD3 and Flux: their own diffusers pipeline makes whole images."""

import inspect
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

import diffusers
import numpy as np
import torch
from diffusers import (
    AutoPipelineForImage2Image,
    AutoPipelineForInpainting,
    AutoPipelineForText2Image,
    DiffusionPipeline,
    GlmImagePipeline,
)
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from generation.engine import memory
from generation.engine.computing import use
from generation.engine.emphasis import plain
from generation.engine.errors import BrokenLatents, UnsupportedModel, UnsupportedRequest
from generation.engine.inpainting import cover, padded, repainted
from generation.engine.loaded import LoadedModel
from generation.engine.loading import EngineSettings, choose_device, choose_dtype, served_name
from generation.engine.request import ImageRequest, ImageResult, Mode, OnDraft, OnStep
from generation.engine.safety import SafetyChecker, build_checker
from generation.engine.schedulers import denoising_steps, strength_of_one_step

logger = logging.getLogger(__name__)

_AUTO: dict[Mode, Any] = {
    "text2img": AutoPipelineForText2Image,
    "img2img": AutoPipelineForImage2Image,
    "inpaint": AutoPipelineForInpainting,
}
_NEEDED = {  # what a pipeline must take; without the callback nobody could cancel
    "text2img": {"prompt", "generator", "num_inference_steps", "callback_on_step_end"},
    "img2img": {"image"},
    "inpaint": {"image", "mask_image"},
}


class PipelineEngine(LoadedModel):
    """One model in memory that makes one image after another, each from its own seed; used by one thread at a time.

    It keeps the model's own scheduler, and paints no drafts.
    """

    def __init__(self, pipeline: DiffusionPipeline, name: str, revision: str, safety_checker: SafetyChecker | None):
        self.model_name, self.revision = name, revision
        self.vae_name = type(getattr(pipeline, "vae", None)).__name__
        self.scheduler_name = type(pipeline.scheduler).__name__
        self.device, self.dtype = pipeline.device, pipeline.dtype
        self._safety_checker = safety_checker
        self.network = getattr(pipeline, "transformer", None) or pipeline.unet
        self._pipeline = pipeline
        self._pipelines = _by_mode(pipeline)
        # SD3 and Flux cut latents into patches of 2 x 2, and GLM-Image has a token for 4 x 4.
        patch_size = 4 if isinstance(pipeline, GlmImagePipeline) else getattr(pipeline, "patch_size", 2)
        self._multiple = getattr(pipeline, "vae_scale_factor", 8) * patch_size
        if not self._pipelines:
            raise UnsupportedModel(f"A {type(pipeline).__name__} makes no images that can be canceled midway.")
        self.modes = list(self._pipelines)

    @classmethod
    def load(cls, settings: EngineSettings) -> Self:
        """Read the weights, from safetensors alone, and return an engine that holds them.

        Raises:
            UnsupportedModel: it brings code, or its pipeline makes no images that can be canceled.
            UnsupportedRequest: the settings name a scheduler.
            OSError: there is no such model.
        """
        if settings.threads:
            torch.set_num_threads(settings.threads)
        index, commit = DiffusionPipeline.load_config(
            settings.model, revision=settings.revision, return_commit_hash=True
        )
        _refuse_code(index)
        if settings.scheduler:
            raise UnsupportedRequest(f"{index['_class_name']} keeps the model's own scheduler; leave SCHEDULER empty.")
        device = choose_device(settings.device)
        pipeline = DiffusionPipeline.from_pretrained(
            settings.model,
            revision=settings.revision,
            variant=settings.variant,
            dtype=_dtype(settings.dtype, device),
            use_safetensors=True,
        ).to(device)
        checker = build_checker(settings, device)
        engine = cls(pipeline, served_name(settings), commit or settings.revision or "local", checker)
        engine.tuning = use(engine.network, settings.tuning, settings.quantize)
        if settings.frugal:
            engine.save_memory()
        logger.info("Loaded %s", engine.description())
        return engine

    def description(self) -> str:
        """Return one line for logs: what runs, where, in which precision."""
        return (
            f"{self.model_name} ({self.revision}), {type(self._pipeline).__name__}, one image at a time, "
            f"{self.vae_name}, {self.scheduler_name}, {self.device}, {str(self.dtype).removeprefix('torch.')}"
        )

    def facts(self) -> dict[str, str]:
        """Return what was chosen for the device, for people."""
        return {"modes": ", ".join(self.modes)} | super().facts()

    @property
    def native_pixels(self) -> int:
        """Width and height of an image of the size that the model was made for."""
        return getattr(self._pipeline, "default_sample_size", 128) * getattr(self._pipeline, "vae_scale_factor", 8)

    def save_memory(self) -> None:
        """Compute images in tiles from now on."""
        for part in self._pipeline.components.values():  # Kandinsky's VAE is called movq
            memory.tile(part)
        self.saves_memory = True

    def generate(
        self, request: ImageRequest, on_step: OnStep | None = None, on_draft: OnDraft | None = None
    ) -> ImageResult:
        """Make the images of a request one after another; where memory runs out, once more with tiling.

        `on_step` hears of the steps of one image, which pass more slowly the more images there are.

        Raises:
            UnsupportedRequest: the model can't do what is asked.
            OutOfMemory, BrokenLatents: there is no image to show.
            Whatever on_step raises.
        """
        if request.scheduler and request.scheduler != self.scheduler_name:
            raise UnsupportedRequest(f"This model has a scheduler of its own, and takes no {request.scheduler}.")
        if request.mode not in self._pipelines:
            modes = " and ".join(self._pipelines)
            raise UnsupportedRequest(f"This model knows no {request.mode}, only {modes}.")
        return self.frugally(self._generate, request, on_step or (lambda step, steps: None))

    def _generate(self, request: ImageRequest, on_step: OnStep) -> ImageResult:
        begun = time.perf_counter()
        strength = 1.0 if request.mode == "text2img" else request.strength
        steps = denoising_steps(request.num_inference_steps, strength)
        on_step(0, steps)
        images = []
        for number, seed in enumerate(request.seeds):

            def report(share: float, number: int = number) -> None:
                on_step(int((number + share) / request.samples * steps), steps)

            images.append(self._image(request, seed, report))
        return replace(self._shown(request, images), accelerator_seconds=time.perf_counter() - begun)

    def _image(self, request: ImageRequest, seed: int, report: Callable[[float], None]) -> Image.Image:
        """Make the image of one seed, as large as the model can make it, telling which share of it is done."""
        pipeline = self._pipelines[request.mode]

        def after_step(_: DiffusionPipeline, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            done = index + 1
            if done == pipeline.num_timesteps and not tensors["latents"].isfinite().all():
                raise BrokenLatents("The model returned NaN or infinity; float32 may help.")
            report(done / pipeline.num_timesteps)
            return tensors

        taken = inspect.signature(pipeline.__call__).parameters
        offered = self._arguments(request) | {
            "generator": torch.Generator("cpu").manual_seed(seed),  # a seed means the same on every device
            "callback_on_step_end": after_step,
            "output_type": "np",  # (1, H, W, 3) in [0, 1], in which NaN is still seen
        }
        guidance = taken.get("true_cfg_scale")
        if guidance and guidance.default > 1 and not self.network.config.get("guidance_embeds"):
            # Qwen-Image's; Flux takes it too, as a second guidance beside that which it was distilled with.
            offered["true_cfg_scale"] = offered.pop("guidance_scale")
        levels = pipeline(**{name: value for name, value in offered.items() if name in taken}).images[0]
        if not np.isfinite(levels).all():
            raise BrokenLatents("The VAE of this model returned NaN; float32 may help.")
        image = VaeImageProcessor.numpy_to_pil(levels)[0]
        return cover(image, offered["width"], offered["height"])  # some make it only in sizes of their own

    def _arguments(self, request: ImageRequest) -> dict[str, Any]:
        width, height = (side + -side % self._multiple for side in (request.width, request.height))
        arguments: dict[str, Any] = {
            "prompt": plain(request.prompt),
            "negative_prompt": plain(request.negative_prompt),
            "width": width,
            "height": height,
            "max_area": width * height,  # FLUX.1 Kontext makes it a megapixel otherwise
            "num_inference_steps": request.num_inference_steps,
            "guidance_scale": request.guidance_scale,
            "clip_skip": request.clip_skip or None,
        }
        if request.mode != "text2img" and request.init_image is not None:
            image = cover(request.init_image, request.width, request.height)
            arguments["image"] = self._padded(np.asarray(image))
            arguments["strength"] = max(request.strength, strength_of_one_step(request.num_inference_steps))
        if request.mode == "inpaint" and request.mask_image is not None:
            white = repainted(request.mask_image, request.width, request.height)
            arguments["mask_image"] = self._padded(white.astype(np.uint8) * 255)
        return arguments

    def _padded(self, array: np.ndarray) -> Image.Image:
        return Image.fromarray(padded(array, self._multiple))


def _refuse_code(index: dict[str, Any]) -> None:
    """Refuse a model whose parts are made by other libraries, which diffusers would import."""
    for part, origin in index.items():
        library = origin[0] if isinstance(origin, list) and len(origin) == 2 else None
        if library and library not in ("diffusers", "transformers") and not hasattr(diffusers.pipelines, library):
            raise UnsupportedModel(f"The {part} of this model is code from {library!r}, which is not run.")


def _by_mode(pipeline: DiffusionPipeline) -> dict[Mode, DiffusionPipeline]:
    """Return the pipelines that share this one's networks, by what they can do."""
    found: dict[Mode, DiffusionPipeline] = {}
    for mode, auto in _AUTO.items():
        try:
            made = auto.from_pipe(pipeline)
        except ValueError:  # there is none for this model
            continue
        if _NEEDED["text2img"] | _NEEDED[mode] <= inspect.signature(made.__call__).parameters.keys():
            made.set_progress_bar_config(disable=True)
            found[mode] = made
    return found


def _dtype(wanted: str, device: torch.device) -> torch.dtype:
    """Return the dtype named; for "auto" bfloat16 instead of float16, in which T5 overflows."""
    dtype = choose_dtype(wanted, device)
    return torch.bfloat16 if wanted == "auto" and dtype == torch.float16 else dtype
