"""Draws the pictures of the README with the built-in model: `python -m docs.pictures`."""

from pathlib import Path

from PIL import Image

from generation.engine import Engine, EngineSettings, ImageRequest

ROOT = Path(__file__).resolve().parent.parent
SIDE = 320  # pixels, of one picture in the row
STRENGTHS = (0.2, 0.4, 0.6)


def main() -> None:
    """Write docs/images/img2img.png: a start image, and what becomes of it at rising strength."""
    engine = Engine.load(EngineSettings(model=str(ROOT / "generation" / "starter"), safety="none"))
    start = Image.open(ROOT / "static" / "samples" / "cat.jpg").convert("RGB")
    made = [
        engine.generate(
            ImageRequest(mode="img2img", prompt="a cat", init_image=start, strength=strength, seed=1)
        ).images[0]
        for strength in STRENGTHS
    ]
    row = Image.new("RGB", (SIDE * (1 + len(made)), SIDE))
    for k, image in enumerate([start, *made]):
        row.paste(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (SIDE * k, 0))
    row.save(ROOT / "docs" / "images" / "img2img.png", optimize=True)


if __name__ == "__main__":
    main()
