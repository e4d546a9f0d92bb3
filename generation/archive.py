"""Packs images into one zip file, a piece at a time: it is sent while it is made, and never in memory as a whole."""

import io
import logging
import zipfile
from collections.abc import AsyncIterator, Iterable, Iterator

from config.streaming import from_thread
from generation import storage
from generation.models import Generation, Status

logger = logging.getLogger(__name__)

MISSING = "missing.txt"


class Outlet(io.RawIOBase):
    """Takes what is written and hands it out again; can't be sought in, so the zip file is written front to back."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload] # whatever buffer zipfile writes
        self.pieces.append(piece)
        return len(piece)

    def take(self) -> bytes:
        taken, self.pieces = b"".join(self.pieces), []
        return taken


def file_name(generation: Generation, k: int) -> str:
    """Return the name of image `k` for the person who keeps it."""
    return f"atelier-{generation.pk}-{k + 1}.png"


def pieces(generations: Iterable[Generation]) -> Iterator[bytes]:
    """Yield a zip file of the generations' images, an image at a time, and of a list of those that can't be read."""
    outlet, missing = Outlet(), []
    with zipfile.ZipFile(outlet, "w", zipfile.ZIP_STORED) as archive:  # PNG is compressed
        for generation in generations:
            for k in range(len(generation.nsfw) if has_images(generation) else 0):
                try:
                    png = storage.read_image(generation, k)
                except Exception:  # each storage library has errors of its own
                    logger.exception("Image %s of %s can't be read.", k, generation)
                    missing.append(file_name(generation, k))
                    continue
                archive.writestr(zipfile.ZipInfo(file_name(generation, k), created(generation)), png)
                yield outlet.take()
        if missing:
            archive.writestr(MISSING, "These could not be read:\n" + "".join(f"{name}\n" for name in missing))
    yield outlet.take()


def has_images(generation: Generation) -> bool:
    gone = generation.files_removed_at or generation.images_expired_at
    return generation.status == Status.SUCCESS and gone is None


def created(generation: Generation) -> tuple[int, int, int, int, int, int]:
    at = generation.created_at
    return (at.year, at.month, at.day, at.hour, at.minute, at.second)


def stream(generations: list[Generation]) -> AsyncIterator[bytes]:
    """Return the same, without holding a thread between two images."""
    return from_thread(pieces(generations))
