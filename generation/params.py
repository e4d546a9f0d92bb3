"""What a generation is made from: the validated parameters, as a plain value."""

import secrets
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

ENHANCEMENT = "best quality, highly detailed, sharp focus, intricate, professional"
DEFAULT_NEGATIVE_PROMPT = "worst quality, low quality, blurry, deformed, disfigured, watermark, text, signature"
Mode = Literal["text2img", "img2img", "inpaint"]
MODES_WITH_IMAGE = {"img2img", "inpaint"}
SEEDS = 2**32


@dataclass(frozen=True)
class Params:
    """Everything that decides the pixels, and how they are handed over; ranges are in the dialect's request fields."""

    mode: Mode
    prompt: str
    seed: int  # of the first image; image k uses seed + k, modulo 2**32
    negative_prompt: str = ""
    width: int = 512
    height: int = 512
    samples: int = 1
    num_inference_steps: int = 31
    guidance_scale: float = 7.5
    strength: float = 1.0  # 1.0 where there is no start image
    safety_checker: bool = True
    enhance_prompt: bool = True
    base64: bool = False  # also store each image as a text file

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        return cls(**fields)

    @property
    def seeds(self) -> list[int]:
        return [(self.seed + k) % SEEDS for k in range(self.samples)]

    @property
    def full_prompt(self) -> str:
        """The prompt that the model reads."""
        return f"{self.prompt}, {ENHANCEMENT}" if self.enhance_prompt else self.prompt

    @property
    def full_negative_prompt(self) -> str:
        """The negative prompt that the model reads."""
        if not self.enhance_prompt:
            return self.negative_prompt
        return ", ".join(filter(None, [self.negative_prompt, DEFAULT_NEGATIVE_PROMPT]))


@dataclass(frozen=True)
class Inputs:
    """Where the start image and the mask come from: a link still to be fetched, or a name in the inputs storage."""

    init_image_url: str = ""
    init_image_name: str = ""
    mask_image_url: str = ""
    mask_image_name: str = ""

    @property
    def ready(self) -> bool:
        return not (self.init_image_url or self.mask_image_url)


def random_seed() -> int:
    return secrets.randbelow(SEEDS)
