"""Images that callers ask for, the same ones of whoever makes them, and callers that send for them."""

import asyncio
import base64
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
from PIL import Image

START_IMAGES = sorted((Path(__file__).parents[1] / "static" / "samples").glob("*.jpg"))
PROMPTS = ("a cat", "a red car", "a house on a green background", "smiling face with sunglasses", "a slice of pizza")
PATIENCE_SECONDS = 600  # for one answer


@dataclass(frozen=True)
class Call:
    """One image to make of a start image, in the words that every server here understands."""

    prompt: str
    start: Path
    pixels: int  # width and height
    strength: float
    num_inference_steps: int
    seed: int
    negative_prompt: str = "blurry"
    guidance_scale: float = 7.5

    def body(self) -> dict[str, Any]:
        """Return it as JSON, with the start image at its size as base64."""
        return {
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt,
            "init_image": start_image(self.start, self.pixels),
            "width": self.pixels,
            "height": self.pixels,
            "strength": self.strength,
            "num_inference_steps": self.num_inference_steps,
            "guidance_scale": self.guidance_scale,
            "seed": self.seed,
        }


def calls(
    count: int, seed: int, mixed: bool, sizes: Sequence[int] = (256,), steps: tuple[int, int] = (10, 50)
) -> list[Call]:
    """Return calls that are alike but for prompt, picture and seed, or mixed: of any strength, steps and size.

    With fewer than 5 `steps` diffusers would have none to do at strength 0.2, and fail.
    """
    luck = random.Random(seed)
    return [
        Call(
            prompt=luck.choice(PROMPTS),
            start=luck.choice(START_IMAGES),
            pixels=luck.choice(sizes) if mixed else sizes[0],
            strength=round(luck.uniform(0.2, 1), 2) if mixed else 0.7,
            num_inference_steps=luck.randint(*steps) if mixed else 30,
            seed=luck.randrange(2**32),
        )
        for _ in range(count)
    ]


@cache
def start_image(path: Path, pixels: int) -> str:
    kept = BytesIO()
    Image.open(path).convert("RGB").resize((pixels, pixels)).save(kept, "PNG")
    return base64.b64encode(kept.getvalue()).decode()


def session() -> aiohttp.ClientSession:
    """Return a session for any number of callers, who wait long but not forever."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS),
        trust_env=False,
    )


@dataclass(frozen=True)
class Site:
    """A running site that answers when the image is there (SYNC_WAIT_SECONDS), and a key of it."""

    url: str
    key: str

    async def image(self, sender: aiohttp.ClientSession, body: dict[str, Any]) -> dict[str, Any]:
        """Let it make an image, of a start image if there is one, and return its answer."""
        path = "img2img" if "init_image" in body else "text2img"
        asked = body | {"key": self.key, "safety_checker": "no", "enhance_prompt": "no"}
        async with sender.post(f"{self.url}/api/v3/{path}", json=asked) as response:
            answer: dict[str, Any] = await response.json()
        if answer.get("status") != "success":
            raise RuntimeError(f"The site answered {answer}")
        return answer


async def send_all(
    bodies: Iterable[dict[str, Any]], callers: int, send: Callable[[dict[str, Any]], Awaitable[Any]]
) -> list[float]:
    """Let so many callers send them, each its next one when the one before is answered; return seconds of each."""
    left, took = iter(bodies), []

    async def caller() -> None:
        for body in left:
            begun = time.perf_counter()
            await send(body)
            took.append(time.perf_counter() - begun)

    await asyncio.gather(*(caller() for _ in range(callers)))
    return took
