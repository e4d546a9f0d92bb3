"""What every engine has and does around the denoising: names, memory that runs out, images that are shown or not."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import torch
from PIL import Image

from generation.engine import memory
from generation.engine.errors import OutOfMemory
from generation.engine.inpainting import composite, cover, repainted
from generation.engine.request import ImageRequest, ImageResult, Mode, OnDraft, OnStep
from generation.engine.safety import SafetyChecker

logger = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")


class LoadedModel(ABC):
    """One model in memory, ready for requests; used by one thread at a time."""

    model_name: str
    revision: str
    vae_name: str
    scheduler_name: str
    device: torch.device
    dtype: torch.dtype
    modes: Sequence[Mode] = ("text2img", "img2img", "inpaint")
    network: torch.nn.Module  # the UNet or transformer, which takes nearly all of the time
    saves_memory = False
    tuning: Sequence[str] = ()  # what was changed in how it computes
    measured: str = ""  # what that was chosen by, for people
    _safety_checker: SafetyChecker | None

    @property
    @abstractmethod
    def native_pixels(self) -> int:
        """Width and height of an image of the size that the model was made for."""

    @abstractmethod
    def description(self) -> str:
        """Return one line for logs: what runs, where, in which precision."""

    @abstractmethod
    def generate(
        self, request: ImageRequest, on_step: OnStep | None = None, on_draft: OnDraft | None = None
    ) -> ImageResult:
        """Make the images of a request."""

    @abstractmethod
    def save_memory(self) -> None:
        """Be slower in less memory from now on."""

    def facts(self) -> dict[str, str]:
        """Return what was chosen for the device, for people."""
        facts = {
            "device": str(self.device),
            "precision": str(self.dtype).removeprefix("torch."),
            "tuning": ", ".join(self.tuning) or "none",
            **({"measured": self.measured} if self.measured else {}),
            "threads": str(torch.get_num_threads()),
            "safety checker": type(self._safety_checker).__name__ if self._safety_checker else "none",
        }
        used = self.accelerator_bytes()
        return facts if used is None else facts | {"memory of the device": f"{used / 2**20:,.0f} MiB"}

    def synchronize(self) -> None:
        """Wait until the device has done what it was given.

        Raises:
            RuntimeError: it failed, and on CUDA takes no more work from this process.
        """
        memory.synchronize(self.device)

    def accelerator_bytes(self) -> int | None:
        """Return how much of the accelerator's own memory is in use; None where there is none."""
        return memory.used_bytes(self.device)

    def release_cache(self) -> None:
        """Give memory that is held but not used back to the device."""
        memory.release_cache(self.device)

    def warm_up(self) -> None:
        """Make an image of each common size in two steps: what is only done once shall keep no caller waiting."""
        for pixels in sorted({self.native_pixels, ImageRequest.width}):
            self.generate(self.trial(pixels, num_inference_steps=2))

    def trial(self, pixels: int, num_inference_steps: int) -> ImageRequest:
        """Return a request for pixels x pixels, with guidance, in a mode that the model has; its picture is grey."""
        grey = Image.new("RGB", (pixels, pixels), "grey")
        return ImageRequest(
            mode=self.modes[0],
            prompt="a cat",
            width=pixels,
            height=pixels,
            num_inference_steps=num_inference_steps,
            strength=1.0,
            init_image=grey,
            mask_image=Image.new("L", grey.size, "white"),
        )

    def frugally(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what a call returns; where memory runs out, call once more with tiling.

        Raises:
            OutOfMemory: that was not enough.
        """
        try:
            return call(*args, **kwargs)
        except RuntimeError as error:
            if not memory.is_out_of_memory(error):
                raise
            reason = str(error)
        # The traceback, and with it the tensors of the failed attempt, is gone only now.
        self.release_cache()
        if self.saves_memory:
            raise OutOfMemory(reason)
        logger.warning("Out of memory, trying again with tiling.")
        self.save_memory()
        return self.frugally(call, *args, **kwargs)

    def _shown(self, request: ImageRequest, decoded: list[Image.Image]) -> ImageResult:
        """Return decoded images cropped to size, with what a mask keeps, and black where they are unsafe."""
        images = [self._composed(request, image) for image in decoded]
        nsfw = [False] * len(images)
        if self._safety_checker is not None and request.safety_checker:
            nsfw = self._safety_checker.is_nsfw(images)
        blank = Image.new("RGB", (request.width, request.height))
        shown = [blank.copy() if unsafe else image for image, unsafe in zip(images, nsfw, strict=True)]
        return ImageResult(shown, nsfw, request.seeds, 0.0)

    def _composed(self, request: ImageRequest, image: Image.Image) -> Image.Image:
        image = image.crop((0, 0, request.width, request.height))
        if request.mode != "inpaint" or request.init_image is None or request.mask_image is None:
            return image
        original = cover(request.init_image, request.width, request.height)
        return composite(image, original, repainted(request.mask_image, request.width, request.height))
