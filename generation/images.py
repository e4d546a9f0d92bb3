"""Images that users give us and images we give back: checked before they are decoded, decoded into one plain form."""

import base64
import json
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import ExifTags, Image, ImageChops, ImageOps
from PIL.PngImagePlugin import PngInfo

from generation.params import MODES_WITH_IMAGE, Params

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF")
UNREADABLE = "The file is not an image that can be read; send PNG, JPEG, WebP, GIF, BMP or AVIF."
MAX_PIXELS = 50_000_000
MAX_BYTES = 20 * 2**20
BAND_PIXELS = 2**20  # laid on a background at once
DRAFT_PIXELS, THUMBNAIL_PIXELS = 256, 384  # longest side
PARAMETERS_CHUNK = "parameters"  # the field's own text, read by other programs
JSON_CHUNK = "atelier"  # the same and more, read by us
# Somebody waits for the image: a fifth of the default's time for photos of 1024×1024, and files of the same size. PNG's
# filters leave little that repeats, so zlib need not look for more than runs of a byte.
COMPRESS_TYPE = zlib.Z_RLE
# What to do so that an image with this EXIF orientation stands upright. Not ImageOps.exif_transpose: it also writes the
# EXIF data anew, and fails on what some cameras put there.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnusableImage(Exception):
    """The image can't be used; the message tells its owner why."""


@dataclass(frozen=True)
class Header:
    """What an image says about itself; nothing was decoded."""

    format: str  # one of FORMATS
    width: int  # as stored, before EXIF turns it
    height: int


def read_header(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Header:
    """Read format and size, without the cost and the risk of decoding.

    Raises:
        UnusableImage: no image of a known format, or more than `max_pixels`.
    """
    with _open(data, max_pixels) as image:
        # A photo with a second one inside (MPO, as some phones make) is a JPEG to everybody else.
        return Header("JPEG" if image.format == "MPO" else str(image.format), image.width, image.height)


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode the first frame into an upright RGB image; what is transparent becomes white. Colour profiles are ignored.

    Raises:
        UnusableImage: as `read_header`, and when the data is damaged.
    """
    return _decode(data, max_pixels, "white", "RGB")


def decode_mask(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode a mask into an upright grey image: white is repainted, black and what is transparent is kept.

    Raises:
        UnusableImage: as `decode`.
    """
    return _decode(data, max_pixels, "black", "L")


def cover(image: Image.Image, width: int, height: int) -> Image.Image:
    """Scale `image` until it covers width × height, without distorting it, and cut off evenly what stands out."""
    return ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)


def check_size(data: bytes, *, max_bytes: int = MAX_BYTES) -> None:
    """Raise UnusableImage for a file that is too large."""
    if len(data) > max_bytes:
        raise UnusableImage(f"The image is larger than {max_bytes / 2**20:g} MB.")


def is_url(text: str) -> bool:
    """Tell whether an image field holds a link, rather than the image itself."""
    return text.lower().startswith(("http://", "https://"))


def from_text(text: str, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the bytes of a base64 `data:` URL or of bare base64: either alphabet, padded or not, on one line or many.

    A space counts as the "+" that a form turned into it.

    Raises:
        UnusableImage: it is neither, or larger than `max_bytes`; the bytes may still be no image.
    """
    if text[:5].lower() == "data:":
        media_type, _, text = text.partition(",")
        if not media_type.lower().endswith(";base64"):
            raise UnusableImage("A data: URL of an image must be base64 (data:image/png;base64,…).")
    text = text.translate(str.maketrans("-_ ", "+/+", "\r\n\t")).rstrip("=")
    if len(text) * 3 // 4 > max_bytes:
        raise UnusableImage(f"The image is larger than {max_bytes / 2**20:g} MB.")
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as malformed:
        raise UnusableImage("The image must be an http(s) link, a data: URL or base64.") from malformed
    if not data:
        raise UnusableImage("The image is empty.")
    return data


def encode_png(image: Image.Image, parameters: str, metadata: dict[str, Any]) -> bytes:
    """Return a PNG that carries how it was made: `parameters` for people and other programs, `metadata` for us."""
    chunks = PngInfo()
    chunks.add_text(PARAMETERS_CHUNK, parameters)
    chunks.add_text(JSON_CHUNK, json.dumps(metadata))
    file = BytesIO()
    image.save(file, "PNG", pnginfo=chunks, compress_type=COMPRESS_TYPE)
    return file.getvalue()


def encode_draft(image: Image.Image) -> bytes:
    """Return a small JPEG of an unfinished image, a few kilobytes."""
    return _small(image, DRAFT_PIXELS, "JPEG", quality=60)


def encode_thumbnail(image: Image.Image) -> bytes:
    """Return a small WebP, for pages that show many images."""
    return _small(image, THUMBNAIL_PIXELS, "WEBP", quality=80, method=2)


def _small(image: Image.Image, side_pixels: int, format: str, **options: Any) -> bytes:
    small = image.convert("RGB")
    small.thumbnail((side_pixels, side_pixels), Image.Resampling.LANCZOS, reducing_gap=2)
    file = BytesIO()
    small.save(file, format, **options)
    return file.getvalue()


def read_parameters(png: bytes) -> dict[str, Any] | None:
    """Return the `metadata` that `encode_png` put into an image, or None when there is none to be read."""
    try:
        with _open(png, MAX_PIXELS) as image:
            metadata = json.loads(image.info.get(JSON_CHUNK, "null"))
    except (UnusableImage, ValueError, TypeError, RecursionError):
        return None
    return metadata if isinstance(metadata, dict) else None


def parameters_text(params: Params, *, seed: int, sampler: str, model: str) -> str:
    """Write how one image was made, the way the field's programs read it back.

    Source: AUTOMATIC1111 stable-diffusion-webui, modules/processing.py `create_infotext`.
    """
    settings: dict[str, str | int | float] = {
        "Steps": params.num_inference_steps,
        "Sampler": sampler,
        "CFG scale": f"{params.guidance_scale:g}",
        "Seed": seed,
        "Size": f"{params.width}x{params.height}",
        "Model": model,
    }
    if params.mode in MODES_WITH_IMAGE:
        settings["Denoising strength"] = f"{params.strength:g}"
    lines = [params.full_prompt]
    if params.full_negative_prompt:
        lines.append(f"Negative prompt: {params.full_negative_prompt}")
    lines.append(", ".join(f"{name}: {_quote(str(value))}" for name, value in settings.items()))
    return "\n".join(lines)


def _quote(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if any(mark in value for mark in ",:\n") else value


def _open(data: bytes, max_pixels: int) -> Image.Image:
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as bomb:
        raise _too_many_pixels(max_pixels) from bomb
    # Pillow's readers answer hostile bytes with OSError, SyntaxError, ValueError, struct.error, EOFError and others.
    except Exception as failure:
        raise UnusableImage(UNREADABLE) from failure
    if image.width * image.height > max_pixels:
        raise _too_many_pixels(max_pixels)
    return image


def _too_many_pixels(max_pixels: int) -> UnusableImage:
    return UnusableImage(f"The image has more than {max_pixels / 1e6:g} million pixels; send a smaller one.")


def _decode(data: bytes, max_pixels: int, background: str, mode: str) -> Image.Image:
    image = _open(data, max_pixels)
    try:
        image.load()
        turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
        if image.mode.startswith("I;16"):  # convert() would cut 16 bits off at 255 instead of scaling them
            image = image.point(lambda value: value / 256).convert("L")
            image.info.pop("transparency", None)  # still one of 65,536 greys
        image = _flatten(image, background, mode) if image.has_transparency_data else image.convert(mode)
        image.info.clear()  # Pillow would write a colour profile found here into what is made from the image
        return image if turn is None else image.transpose(turn)
    except Exception as failure:
        raise UnusableImage("The image is damaged or incomplete.") from failure


def _flatten(image: Image.Image, background: str, mode: str) -> Image.Image:
    # In bands, for there are five copies of what is laid on its background, and 50 million pixels take 200 MB each.
    flat, rows = Image.new(mode, image.size), max(1, BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(top + rows, image.height))
        front = image.crop(box).convert("RGBA")
        flat.paste(Image.alpha_composite(Image.new("RGBA", front.size, background), front).convert(mode), box)
    return flat


def largest_difference(first: Image.Image, second: Image.Image) -> int:
    """Return how far any channel of any pixel is from the other image's, 0 to 255; both are RGB and of one size."""
    return max(ImageChops.difference(first, second).tobytes())
