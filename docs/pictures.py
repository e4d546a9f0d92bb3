"""Draws the pictures of the README and the start page with the built-in model: `python -m docs.pictures`."""

from pathlib import Path

from PIL import Image

from generation.engine import Engine, EngineSettings, ImageRequest

ROOT = Path(__file__).resolve().parent.parent
SAMPLES, PAGES = ROOT / "static" / "samples", ROOT / "static" / "img"
SIDE = 320  # pixels, of one picture in the row
STRENGTHS = (0.2, 0.4, 0.6)
PAIR_STRENGTH = 0.35


def main() -> None:
    engine = Engine.load(EngineSettings(model=str(ROOT / "generation" / "starter"), safety="none"))
    draw_row(engine)
    draw_pair(engine)


def draw_row(engine: Engine) -> None:
    """Write docs/images/img2img.png: a start image, and what becomes of it at rising strength."""
    start = Image.open(SAMPLES / "cat.jpg").convert("RGB")
    made = [draw(engine, "a cat", start, strength) for strength in STRENGTHS]
    row = Image.new("RGB", (SIDE * (1 + len(made)), SIDE))
    for k, image in enumerate([start, *made]):
        row.paste(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (SIDE * k, 0))
    row.save(ROOT / "docs" / "images" / "img2img.png", optimize=True)


def draw_pair(engine: Engine) -> None:
    """Write static/img/before.webp and after.webp: the two sides of the start page's slider."""
    start = Image.open(SAMPLES / "doodle-house.png").convert("RGB")
    start.save(PAGES / "before.webp", quality=90)
    draw(engine, "a house", start, PAIR_STRENGTH).save(PAGES / "after.webp", quality=85)


def draw(engine: Engine, prompt: str, start: Image.Image, strength: float) -> Image.Image:
    request = ImageRequest(mode="img2img", prompt=prompt, init_image=start, strength=strength, seed=1)
    return engine.generate(request).images[0]


if __name__ == "__main__":
    main()
