"""Schedulers by the names the field uses, and the timesteps a request runs."""

import inspect
import math
import re
from copy import deepcopy
from typing import Any

import diffusers
import torch
from diffusers import SchedulerMixin

from generation.engine.errors import UnknownScheduler

# Class in diffusers, settings, names; without settings the class name is one of them. A name followed by "karras" asks
# for Karras sigmas. "DPM++ 2M Karras", "dpmpp_2m_karras" and the like are one spelling.
# Source of the A1111 names: https://huggingface.co/docs/diffusers/api/schedulers/overview
# Left out as they make no sense for latent diffusion: DDIMInverse, IPNDM, KarrasVe, ScoreSdeVe.
_SCHEDULERS: tuple[tuple[str, dict[str, Any], tuple[str, ...]], ...] = (
    ("DDIMScheduler", {}, ("ddim",)),
    ("DDPMScheduler", {}, ("ddpm",)),
    ("DEISMultistepScheduler", {"algorithm_type": "deis"}, ("DEISMultistepScheduler", "deis")),
    ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}, ("DPMSolverMultistepScheduler", "dpmpp_2m")),
    ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, ("dpmpp_2m_sde",)),
    ("DPMSolverSinglestepScheduler", {}, ("dpmpp_sde", "dpmpp_2s")),
    ("EulerAncestralDiscreteScheduler", {}, ("euler_a", "euler_ancestral")),
    ("EulerDiscreteScheduler", {}, ("euler",)),
    ("HeunDiscreteScheduler", {}, ("heun",)),
    ("KDPM2AncestralDiscreteScheduler", {}, ("kdpm2_a", "dpm2_a")),
    ("KDPM2DiscreteScheduler", {}, ("kdpm2", "dpm2")),
    ("LCMScheduler", {}, ("lcm",)),
    ("LMSDiscreteScheduler", {}, ("lms",)),
    ("PNDMScheduler", {}, ("pndm", "plms")),
    ("TCDScheduler", {}, ("tcd",)),
    ("UniPCMultistepScheduler", {}, ("unipc",)),
)


def _spelling(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("++", "pp"))


_BY_NAME = {
    _spelling(name): (getattr(diffusers, class_name), settings)
    for class_name, settings, aliases in _SCHEDULERS
    for name in ([] if settings else [class_name]) + list(aliases)
}

# What outdated configs lack.
# Source: diffusers StableDiffusionPipeline and StableDiffusionInpaintPipeline, which correct them likewise; those of XL
# take an offset as it is.
_FOR_LATENTS = {"clip_sample": False, "skip_prk_steps": True}
_FOR_LATENTS_BEFORE_XL = _FOR_LATENTS | {"steps_offset": 1}


def find(name: str) -> tuple[type[SchedulerMixin], dict[str, Any]]:
    """Return the class and the settings behind a name, in any spelling of case, spaces and underscores.

    Raises:
        UnknownScheduler: nothing goes by that name.
    """
    spelling = _spelling(name)
    if spelling in _BY_NAME:
        return _BY_NAME[spelling]
    kind, settings = _BY_NAME.get(spelling.removesuffix("karras"), (None, {}))
    if kind is None or "use_karras_sigmas" not in inspect.signature(kind.__init__).parameters:
        raise UnknownScheduler(name)
    return kind, settings | {"use_karras_sigmas": True}


class Schedulers:
    """The schedulers of one model: each is built once, which can take a second, and copied for every sample."""

    def __init__(self, configured: SchedulerMixin, default: str | None = None, is_xl: bool = False):
        self._configured = configured  # the model's own
        self._default = default
        self._corrections = _FOR_LATENTS if is_xl else _FOR_LATENTS_BEFORE_XL
        self._built: dict[str | None, SchedulerMixin] = {}

    def new(self, name: str | None = None) -> SchedulerMixin:
        """Return a fresh scheduler that goes by `name`, set up for the model; None: the default, or else its own.

        Raises:
            UnknownScheduler: nothing goes by that name.
        """
        name = name or self._default
        key = name and _spelling(name)
        if key not in self._built:
            kind, settings = find(name) if name else (type(self._configured), {})
            self._built[key] = kind.from_config(self._configured.config, **self._corrections | settings)
        return deepcopy(self._built[key])


def denoising_steps(num_inference_steps: int, strength: float) -> int:
    """Return how many steps img2img and inpaint really run, at least one.

    Source: diffusers StableDiffusionImg2ImgPipeline.get_timesteps (truncates).
    """
    return max(1, min(int(num_inference_steps * strength), num_inference_steps))


def strength_of_one_step(num_inference_steps: int) -> float:
    """Return the least strength at which one of so many steps is run, also where the product is truncated."""
    strength = 1 / num_inference_steps
    return strength if num_inference_steps * strength >= 1 else math.nextafter(strength, 1)


def set_timesteps(
    scheduler: SchedulerMixin, num_inference_steps: int, strength: float = 1.0, anew: bool = False
) -> torch.Tensor:
    """Start the scheduler and return the timesteps to run, (T,), on the CPU.

    They are the last ones of all, or `anew`, where the scheduler can, as many spread over what the strength leaves.
    T is more than `denoising_steps` for schedulers that call the model twice a step.

    Source: diffusers StableDiffusionImg2ImgPipeline and, anew, LatentConsistencyModelImg2ImgPipeline.
    """
    steps = denoising_steps(num_inference_steps, strength)
    taken = inspect.signature(scheduler.set_timesteps).parameters
    # LCM and TCD pick their timesteps out of so many, and refuse to run more; others keep what they said, unused.
    limit: int = scheduler.config.get("original_inference_steps", num_inference_steps)
    raised = num_inference_steps > limit and "original_inference_steps" in taken
    options = {"original_inference_steps": num_inference_steps} if raised else {}
    if anew and "strength" in taken:
        least = strength_of_one_step(max(limit, num_inference_steps))
        scheduler.set_timesteps(steps, device="cpu", strength=max(strength, least), **options)
        return scheduler.timesteps
    scheduler.set_timesteps(num_inference_steps, device="cpu", **options)
    start = (num_inference_steps - steps) * scheduler.order
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(start)
    return scheduler.timesteps[start:]
