"""Plain diffusers' img2img with this machine's best precision, as a program would call it.

`python -m benchmarks.pipeline` makes the images of each line of JSON that it reads, a list of requests (calls.py), and
answers with a line.
It takes MODEL, DEVICE and DTYPE from the environment, as a gpu worker does.
"""

import base64
import json
import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import torch
from diffusers import StableDiffusionImg2ImgPipeline
from PIL import Image

from benchmarks.model import ALIKE, STARTER
from generation.engine.loading import choose_device, choose_dtype

READY = "ready"


class Pipeline:
    """The pipeline in memory."""

    def __init__(self) -> None:
        device = choose_device(os.environ.get("DEVICE", "auto"))
        dtype = choose_dtype(os.environ.get("DTYPE", "auto"), device)
        model = os.environ.get("MODEL", str(STARTER))
        self._pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(model, dtype=dtype, safety_checker=None)
        self._pipeline.to(device).set_progress_bar_config(disable=True)

    def image(self, body: dict[str, Any]) -> Image.Image:
        """Return the image of one request."""
        return self._alike([body])[0]

    def images(self, bodies: Sequence[dict[str, Any]]) -> list[Image.Image]:
        """Return the images of requests, made together where they are alike enough for diffusers."""
        groups = defaultdict(list)
        for k, body in enumerate(bodies):
            groups[tuple(body[name] for name in ALIKE)].append(k)
        made: dict[int, Image.Image] = {}
        for group in groups.values():
            made |= zip(group, self._alike([bodies[k] for k in group]), strict=True)
        return [made[k] for k in range(len(bodies))]

    def _alike(self, bodies: Sequence[dict[str, Any]]) -> list[Image.Image]:
        images: list[Image.Image] = self._pipeline(
            prompt=[body["prompt"] for body in bodies],
            negative_prompt=[body["negative_prompt"] for body in bodies],
            image=[opened(body["init_image"], body["width"], body["height"]) for body in bodies],
            generator=[torch.Generator("cpu").manual_seed(body["seed"]) for body in bodies],
            strength=bodies[0]["strength"],
            num_inference_steps=bodies[0]["num_inference_steps"],
            guidance_scale=bodies[0]["guidance_scale"],
        ).images
        return images


def opened(image: str, width: int, height: int) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(image))).convert("RGB").resize((width, height))


def png(image: Image.Image) -> bytes:
    """Return the image as a file."""
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def main() -> None:
    """Make images until there are no more lines."""
    pipeline = Pipeline()
    print(READY, flush=True)
    for line in sys.stdin:
        print(sum(len(png(image)) for image in pipeline.images(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
