"""Draws the pictures of README, start page and model card with the built-in model: `python -m docs.pictures`."""

from pathlib import Path

from PIL import Image

from generation.engine import Engine, EngineSettings, ImageRequest
from training.prompts import EVERYDAY
from training.sheet import grid

ROOT = Path(__file__).resolve().parent.parent
SAMPLES, PAGES, IMAGES = ROOT / "static" / "samples", ROOT / "static" / "img", ROOT / "docs" / "images"
SIDE = 320  # pixels, of one picture in the row
STRENGTHS = (0.2, 0.4, 0.6)
PAIR_STRENGTH = 0.35
SHEET_SIDE, SHEET_COLUMNS = 128, 10
SHEET_STRENGTHS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SHEET_STARTS = {
    "cat.jpg": "a wise owl at night",
    "coffee.jpg": "one fresh red apple",
    "flower.jpg": "a red rose flower",
    "rocket.jpg": "space rocket launch",
    "doodle-face.png": "cool face wearing sunglasses",
    "doodle-house.png": "a small house",
}
FAILURES = (
    "a cat and a dog",
    "a crowd in a street",
    "the word hello",
    "a hand holding a key",
    "a photograph of a beach",
)


def main() -> None:
    engine = Engine.load(EngineSettings(model=str(ROOT / "generation" / "starter"), safety="none"))
    draw_row(engine)
    draw_pair(engine)
    save_sheet("model-text2img", [sketch(engine, prompt) for prompt in EVERYDAY])
    save_sheet(
        "model-img2img", [image for name, prompt in SHEET_STARTS.items() for image in changes(engine, name, prompt)]
    )
    save_sheet("model-failures", [sketch(engine, prompt, seed) for seed in (1, 2) for prompt in FAILURES])


def draw_row(engine: Engine) -> None:
    """Write docs/images/img2img.png: a start image, and what becomes of it at rising strength."""
    start = Image.open(SAMPLES / "cat.jpg").convert("RGB")
    made = [draw(engine, "a cat", start, strength) for strength in STRENGTHS]
    row = Image.new("RGB", (SIDE * (1 + len(made)), SIDE))
    for k, image in enumerate([start, *made]):
        row.paste(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (SIDE * k, 0))
    row.save(IMAGES / "img2img.png", optimize=True)


def draw_pair(engine: Engine) -> None:
    """Write static/img/before.webp and after.webp: the two sides of the start page's slider."""
    start = Image.open(SAMPLES / "doodle-house.png").convert("RGB")
    start.save(PAGES / "before.webp", quality=90)
    draw(engine, "a house", start, PAIR_STRENGTH).save(PAGES / "after.webp", quality=85)


def sketch(engine: Engine, prompt: str, seed: int = 1) -> Image.Image:
    request = ImageRequest(prompt=prompt, width=256, height=256, num_inference_steps=20, seed=seed)
    return engine.generate(request).images[0]


def changes(engine: Engine, start_name: str, prompt: str) -> list[Image.Image]:
    """Return a start image, and what becomes of it at each strength."""
    start = Image.open(SAMPLES / start_name).convert("RGB")
    return [start, *(draw(engine, prompt, start, strength) for strength in SHEET_STRENGTHS)]


def save_sheet(name: str, images: list[Image.Image]) -> None:
    """Write docs/images/NAME.webp: small pictures, ten in a row."""
    small = [image.resize((SHEET_SIDE, SHEET_SIDE), Image.Resampling.LANCZOS) for image in images]
    grid(small, SHEET_COLUMNS).save(IMAGES / f"{name}.webp", quality=80, method=6)


def draw(engine: Engine, prompt: str, start: Image.Image, strength: float) -> Image.Image:
    request = ImageRequest(mode="img2img", prompt=prompt, init_image=start, strength=strength, seed=1)
    return engine.generate(request).images[0]


if __name__ == "__main__":
    main()
