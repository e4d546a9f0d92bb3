"""Where images are kept: results in the default storage, start images in the private one."""

import base64
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.files.base import ContentFile
from django.core.files.storage import Storage, default_storage, storages

from generation.models import Generation
from generation.params import Inputs


class FileLost(Exception):
    """The storage has no file of this name, or not any more."""


class Failed(Exception):
    """The storage could not be read or written; another attempt may find it well again."""


@contextmanager
def faults() -> Iterator[None]:
    """Raise Failed for whatever goes wrong inside: each storage library has errors of its own."""
    try:
        yield
    except Exception as error:
        raise Failed from error


class TextFile(ContentFile):
    """Tells S3 what it is, which its name does not."""

    content_type = "text/plain"


def save_input(data: bytes) -> str:
    """Keep a start image as it was sent and return its name."""
    return storages["inputs"].save(f"{uuid.uuid4()}", ContentFile(data))


def read_input(name: str) -> bytes:
    """Return a start image or a mask.

    Raises:
        FileLost
    """
    return read(storages["inputs"], name)


def save_image(generation: Generation, k: int, png: bytes, as_base64: bool) -> None:
    """Store image `k`, and its base64 twin when asked for; storing it again replaces it."""
    default_storage.save(generation.image_name(k), ContentFile(png))
    if as_base64:
        default_storage.save(base64_name(generation, k), TextFile(base64.b64encode(png)))


def save_thumbnail(generation: Generation, k: int, webp: bytes) -> None:
    """Store the small picture of image `k`; storing it again replaces it."""
    default_storage.save(generation.thumbnail_name(k), ContentFile(webp))


def read_image(generation: Generation, k: int) -> bytes:
    """Return image `k`.

    Raises:
        FileLost
    """
    return read(default_storage, generation.image_name(k))


def read_base64(generation: Generation, k: int) -> str:
    """Return the base64 twin of image `k`.

    Raises:
        FileLost
    """
    return read(default_storage, base64_name(generation, k)).decode()


def read(storage: Storage, name: str) -> bytes:
    try:
        with storage.open(name) as file:
            return file.read()
    except FileNotFoundError as missing:  # folders and S3 say it alike
        raise FileLost(name) from missing


def base64_name(generation: Generation, k: int) -> str:
    return generation.image_name(k).removesuffix(".png") + ".base64"


def url(generation: Generation, k: int, as_base64: bool) -> str:
    """Return the link of image `k`; relative to the site when the storage is a folder."""
    return default_storage.url(base64_name(generation, k) if as_base64 else generation.image_name(k))


def thumbnail_url(generation: Generation, k: int) -> str:
    """Return the link of the small picture of image `k`, as `url` does."""
    return default_storage.url(generation.thumbnail_name(k))


def delete_images(generation: Generation) -> None:
    """Remove every image of the generation; missing ones are no error."""
    for k in range(generation.params["samples"]):
        default_storage.delete(generation.image_name(k))
        default_storage.delete(generation.thumbnail_name(k))
        default_storage.delete(base64_name(generation, k))


def delete_inputs(generation: Generation) -> None:
    """Remove the start image and the mask; missing ones are no error."""
    for name in filter(None, (generation.init_image_name, generation.mask_image_name)):
        storages["inputs"].delete(name)


@contextmanager
def kept_inputs(init_image: str | bytes | None, mask_image: str | bytes | None) -> Iterator[Inputs]:
    """Keep the images that came as bytes for the `with` block's work, and remove them again when it fails."""
    names: list[str] = []

    def keep(image: str | bytes | None) -> dict[str, str]:
        if not isinstance(image, bytes):
            return {"url": image or "", "name": ""}
        names.append(save_input(image))
        return {"url": "", "name": names[-1]}

    try:
        init, mask = keep(init_image), keep(mask_image)
        yield Inputs(init["url"], init["name"], mask["url"], mask["name"])
    except BaseException:
        for name in names:
            storages["inputs"].delete(name)
        raise
