"""Draw the two doodles of static/samples/: `python -m training.doodles`."""

from PIL import Image, ImageDraw

from training.settings import ROOT

SIDE, FINE = 512, 2  # pixels, and how much finer they are drawn


def house() -> Image.Image:
    """Return a house on a meadow under a sun."""
    image, pen = sheet("#bfe3ff")
    pen.rectangle(scaled(0, 360, 512, 512), fill="#7ecb6f")
    pen.ellipse(scaled(380, 40, 470, 130), fill="#ffd34d")
    pen.rectangle(scaled(130, 230, 370, 430), fill="#f3e3c3")
    pen.polygon(scaled(105, 235, 250, 110, 395, 235), fill="#c9483c")
    pen.rectangle(scaled(225, 330, 285, 430), fill="#7a4b2a")
    for left in (155, 300):
        pen.rectangle(scaled(left, 265, left + 48, 313), fill="#8fc7f0", outline="#5b4636", width=4 * FINE)
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def face() -> Image.Image:
    """Return a round face with two eyes and a smile."""
    image, pen = sheet("#ffffff")
    pen.ellipse(scaled(76, 76, 436, 436), fill="#ffcc33", outline="#8a5a00", width=8 * FINE)
    for left in (170, 292):
        pen.ellipse(scaled(left, 190, left + 50, 260), fill="#3b2a1a")
    pen.arc(scaled(160, 200, 352, 370), 20, 160, fill="#3b2a1a", width=16 * FINE)
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def sheet(color: str) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Return an empty drawing and a pen for it."""
    image = Image.new("RGB", (SIDE * FINE, SIDE * FINE), color)
    return image, ImageDraw.Draw(image)


def scaled(*coordinates: int) -> list[int]:
    """Return coordinates of the finished image as those of the finer drawing."""
    return [coordinate * FINE for coordinate in coordinates]


if __name__ == "__main__":
    folder = ROOT / "static" / "samples"
    house().save(folder / "doodle-house.png", optimize=True)
    face().save(folder / "doodle-face.png", optimize=True)
