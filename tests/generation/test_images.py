import base64
import json
import random
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

from generation import images
from generation.images import Header, UnusableImage
from generation.params import Params
from tests.generation.conftest import watched_memory

pytestmark = pytest.mark.usefixtures("bounded_memory")

FORMATS = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF"]
COLOURS = {"red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0)}


def four_colours(width: int = 32, height: int = 16) -> Image.Image:
    """Red and green above blue and yellow: every turn and flip can be told from every other."""
    image = Image.new("RGB", (width, height))
    for k, colour in enumerate(COLOURS):
        x, y = k % 2 * width // 2, k // 2 * height // 2
        image.paste(colour, (x, y, x + width // 2, y + height // 2))
    return image


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def corners(image: Image.Image) -> list[str]:
    """Name the colours of the four corners; lossy formats come close to them."""

    def name(x: float, y: float) -> str:
        pixel = np.array(image.getpixel((int(image.width * x), int(image.height * y))), dtype=int)
        return min(COLOURS, key=lambda colour: int(abs(pixel - COLOURS[colour]).sum()))

    return [name(0.2, 0.2), name(0.8, 0.2), name(0.2, 0.8), name(0.8, 0.8)]


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """Compose a PNG by hand, with right checksums."""
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_header(width: int, height: int) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)


# --- read_header ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_it_reads_format_and_size(format: str) -> None:
    assert images.read_header(encoded(four_colours(), format)) == Header(format, 32, 16)


def test_a_photo_of_a_phone_with_a_second_picture_inside_is_a_jpeg() -> None:
    photo = encoded(four_colours(), "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))])

    assert images.read_header(photo) == Header("JPEG", 32, 16)
    assert corners(images.decode(photo)) == list(COLOURS)


@pytest.mark.parametrize("format", ["TIFF", "ICO", "PPM", "TGA", "PCX", "EPS", "PDF", "JPEG2000", "DDS", "SGI", "IM"])
def test_it_refuses_other_formats(format: str) -> None:
    with pytest.raises(UnusableImage, match="send PNG, JPEG, WebP, GIF, BMP or AVIF"):
        images.read_header(encoded(four_colours(), format))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x00" * 1000, id="zeros"),
        pytest.param(b"<!doctype html><title>Not found</title>", id="html"),
        pytest.param(b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', id="svg"),
        pytest.param(b"%PDF-1.7\n%%EOF", id="pdf"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", id="postscript"),
        pytest.param(b"#!/bin/sh\necho", id="a script"),
        pytest.param(zlib.compress(b"\x00" * 100_000), id="compressed zeros"),
        pytest.param(b"\x89PNG\r\n\x1a\n", id="only a PNG's signature"),
        pytest.param(b"\xff\xd8\xff", id="only a JPEG's signature"),
        pytest.param(b"GIF89a", id="only a GIF's signature"),
        pytest.param(b"BM", id="only a BMP's signature"),
        pytest.param(b"RIFF\x24\x00\x00\x00WEBPVP8 ", id="only a WebP's signature"),
        pytest.param(b"\x00\x00\x00\x1cftypavif", id="only an AVIF's signature"),
        pytest.param(png(png_header(0, 0), (b"IEND", b"")), id="a PNG of no size"),
        pytest.param(b"RIFF\x24\x00\x00\x00AVI LIST", id="a film"),
        pytest.param(b"ID3\x04" + b"\x00" * 100, id="a song"),
        pytest.param(b"PK\x03\x04" + b"\x00" * 100, id="an archive"),
    ],
)
def test_it_refuses_what_is_no_image(data: bytes) -> None:
    with pytest.raises(UnusableImage):
        images.read_header(data)
    with pytest.raises(UnusableImage):
        images.decode(data)
    with pytest.raises(UnusableImage):
        images.decode_mask(data)


BOMB = png(png_header(30_000, 30_000), (b"IDAT", zlib.compress(b"\x00" * 10_000)), (b"IEND", b""))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(BOMB, id="PNG 30000×30000"),
        pytest.param(png(png_header(2**31 - 1, 2**31 - 1), (b"IDAT", b""), (b"IEND", b"")), id="PNG at its largest"),
        pytest.param(png(png_header(10_000, 10_000), (b"IDAT", b""), (b"IEND", b"")), id="PNG 10000×10000"),
        pytest.param(png(png_header(50_000_001, 1), (b"IDAT", b""), (b"IEND", b"")), id="PNG of one line"),
        pytest.param(b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b";", id="GIF 65535×65535"),
        pytest.param(
            b"GIF89a"
            + struct.pack("<HHBBB", 1, 1, 0, 0, 0)
            + b","
            + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0)
            + b"\x02",
            id="GIF with a frame larger than itself",
        ),
        pytest.param(
            b"BM"
            + struct.pack("<IHHI", 0, 0, 0, 54)
            + struct.pack("<IiiHHIIiiII", 40, 30000, -30000, 1, 24, 0, 0, 0, 0, 0, 0),
            id="BMP 30000×30000",
        ),
        pytest.param(
            b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xdc\xff\xdc\x03\x01\x11\x00\x02\x11\x00\x03\x11\x00\xff\xda\x00\x02",
            id="JPEG 65500×65500",
        ),
        pytest.param(
            b"RIFF\x1a\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00" + b"\x00" * 4 + b"\x00\x40\x00\x00\x40\x00",
            id="WebP 16385×16385",
        ),
    ],
)
@pytest.mark.parametrize("read", [images.read_header, images.decode, images.decode_mask])
@pytest.mark.filterwarnings("error")
def test_it_refuses_too_many_pixels_before_it_decodes_them(read: Callable[[bytes], object], data: bytes) -> None:
    with pytest.raises(UnusableImage):
        read(data)


def test_the_cap_is_50_million_pixels() -> None:
    assert images.read_header(png(png_header(50_000_000, 1), (b"IDAT", b""))) == Header("PNG", 50_000_000, 1)
    for data in (png(png_header(50_000_001, 1), (b"IDAT", b"")), BOMB):
        with pytest.raises(UnusableImage, match=r"^The image has more than 50 million pixels; send a smaller one\.$"):
            images.read_header(data)


# --- decode -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_it_decodes_every_format_into_rgb(format: str) -> None:
    image = images.decode(encoded(four_colours(), format))

    assert (image.mode, image.size, corners(image)) == ("RGB", (32, 16), list(COLOURS))


@pytest.mark.parametrize("format", ["PNG", "GIF", "BMP"])
def test_it_keeps_every_pixel_of_a_lossless_format(format: str) -> None:
    assert images.decode(encoded(four_colours(), format)).tobytes() == four_colours().tobytes()


@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_it_stands_upright_whatever_the_camera_was_held_like(format: str, orientation: int) -> None:
    stored = {  # what a camera writes into the file for a picture that ought to be seen as `four_colours`
        1: lambda image: image,
        2: ImageOps.mirror,
        3: lambda image: image.rotate(180),
        4: ImageOps.flip,
        5: lambda image: ImageOps.mirror(image.rotate(-90, expand=True)),
        6: lambda image: image.rotate(90, expand=True),
        7: lambda image: ImageOps.mirror(image.rotate(90, expand=True)),
        8: lambda image: image.rotate(-90, expand=True),
    }[orientation](four_colours())
    exif = Image.Exif()
    exif[0x0112] = orientation

    image = images.decode(encoded(stored, format, exif=exif))

    assert image.size == (32, 16)
    assert corners(image) == list(COLOURS)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_it_leaves_an_image_with_an_unknown_orientation_as_it_is(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation

    assert corners(images.decode(encoded(four_colours(), exif=exif))) == list(COLOURS)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\x00\x00",
        b"Exif\x00\x00rubbish",
        b"Exif\x00\x00II*\x00\xff\xff\xff\xff",
        b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff\x01\x12\x00\x03" + b"\xff" * 50,
        b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x02\x00\x04\x00\x00\x00abc\x00\x00\x00\x00\x00",
    ],
)
@pytest.mark.filterwarnings("ignore:.*EXIF.*", "ignore:.*Tag data.*")
def test_it_takes_a_photo_with_broken_exif_as_it_is(exif: bytes) -> None:
    assert corners(images.decode(encoded(four_colours(), "JPEG", exif=exif))) == list(COLOURS)


def test_it_takes_a_photo_with_exif_that_could_not_be_written_again() -> None:
    body = struct.pack("<HHII", 0x0112, 3, 1, 6) + struct.pack("<HHII", 0x8769, 2, 4, 0x00636261)  # an IFD as a text
    exif = b"Exif\x00\x00II*\x00\x08\x00\x00\x00" + struct.pack("<H", 2) + body + b"\x00" * 4

    assert images.decode(encoded(four_colours(), "JPEG", exif=exif)).size == (16, 32)


def test_transparency_becomes_white() -> None:
    clear, half = Image.new("RGBA", (4, 4), (255, 0, 0, 0)), Image.new("RGBA", (4, 4), (255, 0, 0, 128))

    assert images.decode(encoded(clear)).getpixel((0, 0)) == (255, 255, 255)
    assert images.decode(encoded(half)).getpixel((0, 0)) == (255, 127, 127)
    assert images.decode(encoded(clear, "WEBP", lossless=True)).getpixel((0, 0)) == (255, 255, 255)
    assert images.decode(encoded(clear, "AVIF")).getpixel((0, 0)) == (255, 255, 255)


def test_transparency_of_a_palette_becomes_white() -> None:
    image = four_colours().quantize(4)
    red = image.getpixel((0, 0))

    for data in (
        encoded(image, transparency=red),
        encoded(image, transparency=bytes(0 if index == red else 255 for index in range(4))),
        encoded(image, "GIF", transparency=red),
    ):
        decoded = images.decode(data)
        assert decoded.getpixel((0, 0)) == (255, 255, 255)
        assert decoded.getpixel((31, 15)) == (255, 255, 0)


def test_a_transparent_colour_becomes_white() -> None:
    assert images.decode(encoded(four_colours(), transparency=(255, 0, 0))).getpixel((0, 0)) == (255, 255, 255)
    assert images.decode(encoded(Image.new("L", (4, 4), 7), transparency=7)).getpixel((0, 0)) == (255, 255, 255)
    assert images.decode(encoded(Image.new("1", (4, 4), 0), transparency=0)).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "L", "1"])
@pytest.mark.parametrize(("decode", "background"), [(images.decode, "white"), (images.decode_mask, "black")])
def test_bands_make_no_difference_to_what_is_transparent(
    monkeypatch: pytest.MonkeyPatch, mode: str, decode: Callable[[bytes], Image.Image], background: str
) -> None:
    monkeypatch.setattr(images, "BAND_PIXELS", 100)
    noise = Image.frombytes("RGBA", (30, 40), random.Random(0).randbytes(30 * 40 * 4))
    image = noise.convert("RGB").quantize(16) if mode == "P" else noise.convert(mode)
    clear = {"P": bytes(range(0, 256, 16)), "RGB": noise.getpixel((0, 0))[:3], "L": 100, "1": 0}  # type: ignore[index]
    data = encoded(image, **({"transparency": clear[mode]} if mode in clear else {}))

    decoded = decode(data)

    front = Image.open(BytesIO(data)).convert("RGBA")
    whole = Image.alpha_composite(Image.new("RGBA", front.size, background), front).convert(decoded.mode)
    assert front.getextrema()[3][0] < 255  # type: ignore[index]
    assert decoded.tobytes() == whole.tobytes()


def test_what_is_transparent_takes_the_memory_of_two_images() -> None:
    data = encoded(Image.new("RGBA", (3000, 3000)))  # 36 MB

    with watched_memory() as growth_mb:
        images.decode(data)

    assert growth_mb() < 100


@pytest.mark.parametrize(
    ("image", "grey"),
    [
        (Image.new("1", (4, 4), 1), 255),
        (Image.new("L", (4, 4), 100), 100),
        (Image.new("LA", (4, 4), (100, 255)), 100),
        (Image.new("P", (4, 4), 0), 0),
        (Image.new("I;16", (4, 4), 100 * 256 + 99), 100),
        (Image.new("I;16", (4, 4), 65535), 255),
    ],
    ids=["bits", "grey", "grey with alpha", "palette", "16 bits", "16 bits, white"],
)
def test_it_decodes_modes_of_png(image: Image.Image, grey: int) -> None:
    assert images.decode(encoded(image)).getpixel((0, 0)) == (grey, grey, grey)


def test_it_decodes_16_bits_with_a_transparent_grey() -> None:
    data = encoded(Image.new("I;16", (4, 4), 3 * 256), transparency=3)

    assert images.decode(data).getpixel((0, 0)) == (3, 3, 3)


def test_it_decodes_16_bits_a_channel() -> None:
    header = b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    pixel = b"\x00" + struct.pack(">HHH", 200 * 256, 100 * 256, 50 * 256)

    assert images.decode(png(header, (b"IDAT", zlib.compress(pixel)), (b"IEND", b""))).getpixel((0, 0)) == (
        200,
        100,
        50,
    )


def test_it_decodes_cmyk() -> None:
    image = images.decode(encoded(four_colours().convert("CMYK"), "JPEG", quality=95))

    assert (image.mode, corners(image)) == ("RGB", list(COLOURS))


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "AVIF"])
def test_it_takes_the_first_frame_of_an_animation(format: str) -> None:
    frames = [Image.new("RGB", (32, 16), colour) for colour in ("black", "white")]

    data = encoded(four_colours(), format, save_all=True, append_images=frames, duration=100)

    assert corners(images.decode(data)) == list(COLOURS)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_it_refuses_an_image_that_was_cut_off(format: str, share: float) -> None:
    noise = Image.effect_noise((64, 64), 80).convert("RGB")
    data = encoded(noise, format)

    with pytest.raises(UnusableImage):
        images.decode(data[: int(len(data) * share)])


@pytest.mark.parametrize("format", FORMATS)
def test_it_leaves_behind_what_was_appended_to_an_image(format: str) -> None:
    """A polyglot is a good image; nothing of the rest gets into what we make of it."""
    data = encoded(four_colours(), format) + b"<script>alert(1)</script>PK\x03\x04"

    image = images.decode(data)

    assert corners(image) == list(COLOURS)
    assert b"script" not in images.encode_png(image, "", {})


def test_it_carries_nothing_over_from_the_metadata_of_a_start_image() -> None:
    chunks = PngInfo()
    chunks.add_text("Comment", "secret")
    chunks.add_text("atelier", '{"secret": 1}')
    exif = Image.Exif()
    exif[0x010E] = "secret"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(four_colours(), pnginfo=chunks, exif=exif, icc_profile=profile)

    made = images.encode_png(images.cover(images.decode(data), 64, 64), "a cat", {"seed": 1})

    assert set(Image.open(BytesIO(made)).info) == {"parameters", "atelier"}
    assert b"secret" not in made


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_it_refuses_or_ignores_a_bomb_in_the_metadata(kind: bytes) -> None:
    bomb = zlib.compress(b"\x00" * 80_000_000, 9)
    body = {b"zTXt": b"a\x00\x00" + bomb, b"iTXt": b"a\x00\x01\x00\x00\x00" + bomb, b"iCCP": b"a\x00\x00" + bomb}[kind]
    rows = zlib.compress(b"\x00\xff\x00\x00")
    data = png(png_header(1, 1), (kind, body), (b"IDAT", rows), (b"IEND", b""))

    with suppress(UnusableImage):
        assert images.decode(data).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.filterwarnings("ignore")
def test_whatever_happens_to_its_bytes_an_image_is_decoded_or_unusable() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    originals = [
        encoded(four_colours(), format, **({} if format in ("GIF", "BMP") else {"exif": exif})) for format in FORMATS
    ]
    chance = random.Random(0)

    for _ in range(1500):
        data = bytearray(chance.choice(originals))
        for _ in range(chance.randint(1, 6)):
            data[chance.randrange(min(len(data), 400))] = chance.randrange(256)
        with suppress(UnusableImage):
            assert images.decode(bytes(data)).mode == "RGB"
        images.read_parameters(bytes(data))


# --- masks ------------------------------------------------------------------------------------------------------------


def test_a_mask_is_grey_and_transparent_is_kept() -> None:
    painted = Image.new("RGBA", (3, 1), (255, 255, 255, 255))
    painted.putpixel((1, 0), (0, 0, 0, 255))
    painted.putpixel((2, 0), (255, 255, 255, 0))

    mask = images.decode_mask(encoded(painted))

    assert (mask.mode, list(mask.tobytes())) == ("L", [255, 0, 0])


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "I;16"])
def test_a_mask_may_have_any_mode(mode: str) -> None:
    white = {"I;16": 65535, "P": 1}.get(mode, "white")
    image = Image.new(mode, (2, 2), white)
    if mode == "P":
        image.putpalette([0, 0, 0, 255, 255, 255])

    assert set(images.decode_mask(encoded(image)).tobytes()) == {255}


def test_a_mask_is_turned_like_its_image() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6

    assert images.decode_mask(encoded(four_colours(), exif=exif)).size == (16, 32)


# --- cover ------------------------------------------------------------------------------------------------------------


def test_cover_keeps_proportions_and_the_middle() -> None:
    image = Image.new("RGB", (300, 100), "black")
    image.paste("white", (90, 0, 210, 100))  # a white square in the middle, and what the filter sees around it

    assert images.cover(image, 64, 64).getextrema() == ((255, 255),) * 3
    assert images.cover(image.transpose(Image.Transpose.ROTATE_90), 64, 64).getextrema() == ((255, 255),) * 3


def test_cover_leaves_an_image_of_the_right_size_as_it_is() -> None:
    assert images.cover(four_colours(64, 64), 64, 64).tobytes() == four_colours(64, 64).tobytes()


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (7, 3), (2000, 1000)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_cover_fills_the_size_from_any_shape(mode: str, size: tuple[int, int]) -> None:
    image = images.cover(Image.new(mode, size, "white"), 128, 64)

    assert (image.mode, image.size) == (mode, (128, 64))
    assert set(image.tobytes()) == {255}


# --- from_text --------------------------------------------------------------------------------------------------------

DATA = bytes(range(256)) * 2
TEXT = base64.b64encode(DATA).decode()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(TEXT, id="bare"),
        pytest.param(TEXT.rstrip("="), id="without padding"),
        pytest.param(base64.urlsafe_b64encode(DATA).decode(), id="alphabet of links"),
        pytest.param(base64.encodebytes(DATA).decode(), id="many lines"),
        pytest.param(base64.encodebytes(DATA).decode().replace("\n", "\r\n"), id="many lines of Windows"),
        pytest.param(TEXT.replace("+", " "), id="through a form"),
        pytest.param(f"data:image/png;base64,{TEXT}", id="data URL"),
        pytest.param(f"DATA:image/png;charset=utf-8;BASE64,{TEXT}", id="data URL in capitals"),
        pytest.param(f"data:;base64,{TEXT}", id="data URL without a type"),
        pytest.param(f"data:image/jpeg;base64,{base64.encodebytes(DATA).decode()}", id="data URL of many lines"),
    ],
)
def test_it_reads_base64_however_it_is_written(text: str) -> None:
    assert images.from_text(text) == DATA


@pytest.mark.parametrize(
    "text",
    [
        *("", "=", "\n", "data:", "data:,", "data:image/png;base64,", "data:image/png,abcd", "data:image/png;base64"),
        *("a", "abcde", "abc!", "ab=c", "=abc", "абвг", "data:image/png;base64,!", "\x00\x00\x00\x00", "abcd\ud800"),
        *("photo.png", "ftp://photos.example/a.png", "file:///etc/passwd", "C:\\photo.png", "https:/photos.example"),
    ],
)
def test_it_refuses_what_is_not_base64(text: str) -> None:
    with pytest.raises(UnusableImage):
        images.from_text(text)


def test_it_refuses_too_much_base64_before_it_decodes_it() -> None:
    text = base64.b64encode(b"x" * 1001).decode()

    assert images.from_text(text, max_bytes=1001) == b"x" * 1001
    with pytest.raises(UnusableImage, match="larger than"):
        images.from_text(text, max_bytes=1000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *[("http://a.example/b.png", True), ("https://a.example/b.png", True), ("HTTPS://A.EXAMPLE/", True)],
        *[
            ("data:image/png;base64,AAAA", False),
            ("ftp://a.example", False),
            (TEXT, False),
            ("http", False),
            ("", False),
        ],
    ],
)
def test_it_tells_links_from_images(text: str, expected: bool) -> None:
    assert images.is_url(text) is expected


# --- what we give back ------------------------------------------------------------------------------------------------


def test_a_png_carries_how_it_was_made() -> None:
    metadata = {"prompt": "кот, 猫 🐈", "seed": 1, "guidance_scale": 7.5}

    data = images.encode_png(four_colours(), "кот\nSteps: 30", metadata)

    image = Image.open(BytesIO(data))
    assert (image.format, image.tobytes()) == ("PNG", four_colours().tobytes())
    assert image.info["parameters"] == "кот\nSteps: 30"
    assert json.loads(image.info["atelier"]) == metadata
    assert images.read_parameters(data) == metadata


def test_the_same_image_gives_the_same_bytes() -> None:
    assert images.encode_png(four_colours(), "a", {"b": 1}) == images.encode_png(four_colours(), "a", {"b": 1})


@pytest.mark.parametrize("text", ["", "null", "[1]", "not json", '"text"', "[" * 100_000])
def test_it_reads_no_parameters_out_of_rubbish(text: str) -> None:
    chunks = PngInfo()
    chunks.add_text("atelier", text)

    assert images.read_parameters(encoded(four_colours(), pnginfo=chunks)) is None


def test_it_reads_no_parameters_out_of_other_images() -> None:
    assert images.read_parameters(encoded(four_colours())) is None
    assert images.read_parameters(encoded(four_colours(), "JPEG")) is None
    assert images.read_parameters(b"no image") is None


def test_the_parameters_are_written_as_the_field_writes_them() -> None:
    params = Params("img2img", "a cat", 5, "dog", 512, 768, num_inference_steps=30, strength=0.7, enhance_prompt=False)

    assert images.parameters_text(params, seed=6, sampler="Euler a", model="sd-turbo") == (
        "a cat\n"
        "Negative prompt: dog\n"
        "Steps: 30, Sampler: Euler a, CFG scale: 7.5, Seed: 6, Size: 512x768, Model: sd-turbo, Denoising strength: 0.7"
    )


def test_the_parameters_of_text2img_have_no_strength_and_no_empty_negative_prompt() -> None:
    params = Params("text2img", "a cat", 5, guidance_scale=7.0, enhance_prompt=False)

    assert images.parameters_text(params, seed=5, sampler="DDIM", model='a, "b"') == (
        'a cat\nSteps: 31, Sampler: DDIM, CFG scale: 7, Seed: 5, Size: 512x512, Model: "a, \\"b\\""'
    )


def test_the_parameters_hold_the_prompt_that_the_model_read() -> None:
    params = Params("text2img", "a cat", 5)

    text = images.parameters_text(params, seed=5, sampler="DDIM", model="m")

    assert text.startswith(f"{params.full_prompt}\nNegative prompt: {params.full_negative_prompt}\nSteps: 31")
