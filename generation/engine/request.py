"""What is asked of the engine and what it answers; the only types its callers need."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from PIL import Image

Mode = Literal["text2img", "img2img", "inpaint"]

OnStep = Callable[[int, int], None]
"""Called with (steps done, steps in all): once before the first step, then after each. What it raises ends the work."""

OnDraft = Callable[[Callable[[], Image.Image]], None]
"""Called after each step but the last, before OnStep, with a function that paints what the first image is becoming.

Painting takes a part of a step's time, so it is the callee that decides whether to.
"""


@dataclass(frozen=True, kw_only=True)
class ImageRequest:
    """One request for `samples` images; image k uses `seed + k` and can be made again alone."""

    mode: Mode = "text2img"
    prompt: str
    negative_prompt: str = ""
    width: int = 512  # pixels, of the image that comes back
    height: int = 512
    num_inference_steps: int = 31
    guidance_scale: float = 7.5  # 1 and below: the negative prompt is not used
    strength: float = 0.7  # 0-1, img2img and inpaint only
    seed: int = 0  # unsigned 32 bits
    samples: int = 1
    scheduler: str | None = None  # None: the model's own
    clip_skip: int = 0  # last layers of the text encoders to leave out
    init_image: Image.Image | None = None  # RGB; cover-cropped to width x height where its size differs
    mask_image: Image.Image | None = None  # white is repainted, black is kept
    safety_checker: bool = True

    def __post_init__(self) -> None:
        if self.mode != "text2img" and self.init_image is None:
            raise ValueError(f"{self.mode} needs an init_image.")
        if self.mode == "inpaint" and self.mask_image is None:
            raise ValueError("inpaint needs a mask_image.")

    @property
    def seeds(self) -> list[int]:
        """The seed of each image, in order."""
        return [(self.seed + k) % 2**32 for k in range(self.samples)]


@dataclass(frozen=True)
class ImageResult:
    """The images of a request in the order of their seeds; one found unsafe is black."""

    images: list[Image.Image]  # RGB
    nsfw: list[bool]
    seeds: list[int]
    accelerator_seconds: float  # computing time; where a step served several requests, this one's share of it
