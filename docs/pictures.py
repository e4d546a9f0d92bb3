"""Draws the pictures of README, start page and model card with the built-in model: `python -m docs.pictures`."""

from pathlib import Path

from PIL import Image

from generation.engine import Engine, EngineSettings, ImageRequest
from training.prompts import EVERYDAY
from training.sheet import grid

ROOT = Path(__file__).resolve().parent.parent
SAMPLES, PAGES, IMAGES = ROOT / "static" / "samples", ROOT / "static" / "img", ROOT / "docs" / "images"
SIDE = 256  # pixels, which the model does best
PAIRS = (
    ("rocket.jpg", "space rocket launch", 0.5),
    ("doodle-face.png", "cool face wearing sunglasses", 0.6),
    ("doodle-house.png", "a small house", 0.6),
)
SLIDER = ("doodle-face.png", "cool face wearing sunglasses", 0.6)
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
    draw_pairs(engine)
    draw_slider(engine)
    save_sheet("model-text2img", [sketch(engine, prompt) for prompt in EVERYDAY])
    save_sheet(
        "model-img2img", [image for name, prompt in SHEET_STARTS.items() for image in changes(engine, name, prompt)]
    )
    save_sheet("model-failures", [sketch(engine, prompt, seed) for seed in (1, 2) for prompt in FAILURES])


def draw_pairs(engine: Engine) -> None:
    """Write docs/images/img2img.webp: start images, each with what becomes of it beside it."""
    pairs = [
        image
        for name, prompt, strength in PAIRS
        for image in (start_image(name), draw(engine, prompt, start_image(name), strength))
    ]
    grid(pairs, len(pairs)).save(IMAGES / "img2img.webp", quality=80, method=6)


def draw_slider(engine: Engine) -> None:
    """Write static/img/before.webp and after.webp: the two sides of the start page's slider."""
    name, prompt, strength = SLIDER
    start = start_image(name)
    for side, image in {"before": start, "after": draw(engine, prompt, start, strength)}.items():
        image.resize((2 * SIDE, 2 * SIDE), Image.Resampling.LANCZOS).save(PAGES / f"{side}.webp", quality=80, method=6)


def start_image(name: str) -> Image.Image:
    return Image.open(SAMPLES / name).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def sketch(engine: Engine, prompt: str, seed: int = 1) -> Image.Image:
    request = ImageRequest(prompt=prompt, width=SIDE, height=SIDE, num_inference_steps=20, seed=seed)
    return engine.generate(request).images[0]


def changes(engine: Engine, start_name: str, prompt: str) -> list[Image.Image]:
    """Return a start image, and what becomes of it at each strength."""
    start = start_image(start_name)
    return [start, *(draw(engine, prompt, start, strength) for strength in SHEET_STRENGTHS)]


def save_sheet(name: str, images: list[Image.Image]) -> None:
    """Write docs/images/NAME.webp: small pictures, ten in a row."""
    small = [image.resize((SHEET_SIDE, SHEET_SIDE), Image.Resampling.LANCZOS) for image in images]
    grid(small, SHEET_COLUMNS).save(IMAGES / f"{name}.webp", quality=80, method=6)


def draw(engine: Engine, prompt: str, start: Image.Image, strength: float) -> Image.Image:
    request = ImageRequest(
        mode="img2img", prompt=prompt, init_image=start, strength=strength, seed=1, width=SIDE, height=SIDE
    )
    return engine.generate(request).images[0]


if __name__ == "__main__":
    main()
