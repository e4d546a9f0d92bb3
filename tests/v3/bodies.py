"""Requests that are accepted, small for speed, and a look at everything that a refusal must leave untouched."""

import base64
from io import BytesIO
from random import Random
from typing import Any

from django.core.files.storage import storages
from PIL import Image

from accounts.models import Usage
from billing.models import Entry
from generation.models import Delivery, Generation


def picture(size: tuple[int, int] = (64, 64), format: str = "PNG") -> bytes:
    """Return an image with something to see in it, the same every time."""
    image = Image.frombytes("RGB", (8, 8), Random(7).randbytes(8 * 8 * 3)).resize(size)
    file = BytesIO()
    image.save(file, format)
    return file.getvalue()


def as_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def mask() -> bytes:
    """Return a mask whose right half is white."""
    image = Image.new("L", (64, 64), "black")
    image.paste("white", (32, 0, 64, 64))
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def text2img(key: str, **changes: Any) -> dict[str, Any]:
    small = {"width": 64, "height": 64, "num_inference_steps": 2, "safety_checker": "no", "enhance_prompt": "no"}
    return {"key": key, "prompt": "a cat sitting on a bench"} | small | changes


def img2img(key: str, **changes: Any) -> dict[str, Any]:
    return text2img(key) | {"init_image": as_text(picture())} | changes


def inpaint(key: str, **changes: Any) -> dict[str, Any]:
    return img2img(key) | {"mask_image": as_text(mask())} | changes


def written() -> dict[str, int]:
    """Count what requests write: rows, and start images in the storage."""
    inputs = storages["inputs"]
    rows = {model.__name__: model._default_manager.count() for model in (Generation, Entry, Usage, Delivery)}
    return rows | {"inputs": len(inputs.listdir("")[1]) if inputs.exists("") else 0}
