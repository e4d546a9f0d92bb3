"""Judge a model: `python -m training.evaluate [FOLDER]` writes figures and contact sheets to settings.HOME."""

import argparse
import json
import math
import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from generation.engine import Engine, EngineSettings, ImageRequest
from generation.engine.patch_autoencoder import PatchAutoencoder
from generation.params import Params
from training import classifier, settings
from training.data import HELD_OUT_PHOTOS, compose, folder, icon, subjects
from training.prompts import EVERYDAY, KINDS, UNKNOWN
from training.sheet import grid

SEEDS = range(4)
STRENGTHS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SAMPLES = settings.ROOT / "static" / "samples"
STARTS = sorted((*SAMPLES.glob("*.jpg"), *SAMPLES.glob("doodle-*.png")))
TARGETS = (
    "a small cat looking at me",
    "one fresh red apple",
    "a red car",
    "a wise owl at night",
)  # for each start image
LABELS = [subject.label for subject in subjects()]


class Judge:
    """The model, as a worker runs it, and the classifier, both fixed."""

    def __init__(self, model: Path):
        self.model = model
        begun = time.perf_counter()
        self.engine = Engine.load(EngineSettings(model=str(model), safety="none"))
        self.load_seconds = time.perf_counter() - begun
        self.classifier = classifier.load()

    def draw(self, prompt: str, seeds: Sequence[int] = (0,), **options: Any) -> list[Image.Image]:
        """Return a picture for each of seeds that follow each other, of 256 x 256 in 20 steps unless told otherwise."""
        defaults = {"width": 256, "height": 256, "num_inference_steps": 20}
        request = ImageRequest(prompt=prompt, seed=seeds[0], samples=len(seeds), **defaults | options)
        return self.engine.generate(request).images

    def change(self, start: Image.Image, prompt: str, strength: float, **options: Any) -> Image.Image:
        """Return what becomes of a start image."""
        return self.draw(prompt, mode="img2img", init_image=start, strength=strength, **options)[0]

    @torch.no_grad()
    def scores(self, image: Image.Image) -> Tensor:
        """Return the log-probability of each subject."""
        return self.classifier(classifier.batch([image])).log_softmax(1)[0]

    def sees(self, image: Image.Image, prompt: str) -> bool:
        """Return whether one of the subjects that answer the prompt is in the first five."""
        return any(LABELS[number] in EVERYDAY[prompt] for number in self.scores(image).topk(5).indices)

    def score(self, image: Image.Image, prompt: str) -> float:
        """Return the log-probability of the subjects that answer the prompt, together."""
        numbers = [LABELS.index(label) for label in EVERYDAY[prompt]]
        return self.scores(image)[numbers].logsumexp(0).item()


def autoencoder(judge: Judge) -> dict[str, float]:
    """Return the mean decibels on icons of a set it never saw, and on photos it never saw."""
    vae = PatchAutoencoder.from_pretrained(judge.model, subfolder="vae", dtype=torch.float32)
    icons = [icon(subject, "twemoji") for subject in subjects()[::8]]
    white = [
        Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn).convert("RGB") for drawn in icons if drawn
    ]
    photos = [Image.open(folder("scikit-image") / name).convert("RGB") for name in HELD_OUT_PHOTOS]
    return {
        "icons_decibels": float(np.mean([decibels(vae, image) for image in white])),
        "photos_decibels": float(np.mean([decibels(vae, image) for image in photos])),
    }


@torch.no_grad()
def decibels(vae: PatchAutoencoder, image: Image.Image) -> float:
    """Return the peak signal-to-noise ratio of an image after encoding and decoding."""
    image = image.crop((0, 0, image.width // 16 * 16, image.height // 16 * 16))
    pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    squared = (vae(pixels).sample.clamp(-1, 1) - pixels).square().mean().item()
    return 10 * math.log10(4 / squared)


def ceiling(judge: Judge) -> dict[str, float]:
    """Return the share of the denoiser's own icons that the classifier sees: a perfect model would have no more."""
    seen = []
    for prompt, labels in EVERYDAY.items():
        drawn = [icon(subject, "3d") for subject in subjects() if subject.label in labels]
        white = np.full((settings.ICON_PIXELS, settings.ICON_PIXELS, 3), 255, np.uint8)
        seen += [judge.sees(compose(image, white, 0.9, (0, 0), False), prompt) for image in drawn if image]
    return {"top5_of_icons": float(np.mean(seen))}


def text_to_image(judge: Judge) -> dict[str, float]:
    """Return the share of pictures whose subject is seen, what a seed changes, and how clean unknown words come out."""
    made = {prompt: judge.draw(prompt, SEEDS) for prompt in (*EVERYDAY, *UNKNOWN)}
    grid([image for images in made.values() for image in images], 4 * 5).save(settings.HOME / "text2img.png")
    seen = {prompt: np.mean([judge.sees(image, prompt) for image in made[prompt]]) for prompt in EVERYDAY}
    print("missed:", ", ".join(prompt for prompt, share in seen.items() if share < 0.5), flush=True)
    return {
        "top5": float(np.mean(list(seen.values()))),
        "seed_distance_min": min(distance(images[0], other) for images in made.values() for other in images[1:]),
        "roughness_unknown": float(np.mean([roughness(image) for prompt in UNKNOWN for image in made[prompt]])),
        "roughness_known": float(np.mean([roughness(image) for prompt in EVERYDAY for image in made[prompt]])),
    }


def image_to_image(judge: Judge) -> dict[str, float]:
    """Return how strength is obeyed from photos and doodles."""
    starts = [Image.open(path).convert("RGB").resize((256, 256), Image.Resampling.LANCZOS) for path in STARTS]
    rows, distances, seen = [], [], []
    for start in starts:
        for prompt in TARGETS:
            row = [judge.change(start, prompt, strength) for strength in STRENGTHS]
            rows += [start, *row]
            distances.append([distance(start, image) for image in row])
            seen.append(judge.sees(row[STRENGTHS.index(0.8)], prompt))
    grid(rows, 1 + len(STRENGTHS)).save(settings.HOME / "img2img.png")
    mean = np.mean(distances, axis=0)
    return {
        "strength_rank_correlation": rank_correlation(mean, np.array(STRENGTHS)),
        "top5_at_0.8": float(np.mean(seen)),
    }


def guidance(judge: Judge) -> dict[str, float]:
    """Return mean scores at guidance 1 and 12, and of things of a kind, with and without them as negative prompt."""
    prompts = list(EVERYDAY)[::4]

    def mean(scale: float) -> float:
        scores = [
            judge.score(image, prompt)
            for prompt in prompts
            for image in judge.draw(prompt, SEEDS[:2], guidance_scale=scale)
        ]
        return float(np.mean(scores))

    pairs = [(kind, prompt) for kind, examples in KINDS.items() for prompt in examples]
    plain = {kind: judge.draw(kind, SEEDS) for kind in KINDS}
    return {
        "score_guidance_1": mean(1.0),
        "score_guidance_12": mean(12.0),
        "score_of_kind": float(
            np.mean([judge.score(image, prompt) for kind, prompt in pairs for image in plain[kind]])
        ),
        "score_of_kind_without": float(
            np.mean(
                [
                    judge.score(image, prompt)
                    for kind, prompt in pairs
                    for image in judge.draw(kind, SEEDS, negative_prompt=prompt)
                ]
            )
        ),
    }


def as_served(judge: Judge) -> dict[str, float]:
    """Return the share of pictures whose subject is seen, drawn as by the API where a request sets only a prompt."""
    made, prompts = [], list(EVERYDAY)[::2]
    for prompt in prompts:
        params = Params(mode="text2img", prompt=prompt, seed=0)
        request = ImageRequest(
            prompt=params.full_prompt,
            negative_prompt=params.full_negative_prompt,
            num_inference_steps=params.num_inference_steps,
            guidance_scale=params.guidance_scale,
        )
        made += judge.engine.generate(request).images
    grid([image.resize((256, 256), Image.Resampling.LANCZOS) for image in made], 10).save(settings.HOME / "served.png")
    return {"top5_served": float(np.mean([judge.sees(i, prompt) for i, prompt in zip(made, prompts, strict=True)]))}


def times(judge: Judge) -> dict[str, float]:
    """Return seconds: loading, 256 x 256 in 20 steps, and 512 x 512 in 30 steps at strength 0.7."""
    start = Image.open(STARTS[0]).convert("RGB").resize((512, 512))
    judge.draw("a cat", num_inference_steps=2)
    begun = time.perf_counter()
    judge.draw("a cat")
    small = time.perf_counter()
    judge.change(start, "a cat", 0.7, width=512, height=512, num_inference_steps=30)
    return {"load": judge.load_seconds, "256_20": small - begun, "512_30_0.7": time.perf_counter() - small}


def distance(first: Image.Image, second: Image.Image) -> float:
    """Return the root mean square difference of two images, in levels."""
    return float(np.sqrt(np.mean((np.asarray(first, float) - np.asarray(second, float)) ** 2)))


def roughness(image: Image.Image) -> float:
    """Return the mean difference of neighbours, in levels: noise has about 85, our icons 2 to 8."""
    levels = np.asarray(image, float)
    return float((np.abs(np.diff(levels, axis=0)).mean() + np.abs(np.diff(levels, axis=1)).mean()) / 2)


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return Spearman's rank correlation of two series without ties."""
    return float(np.corrcoef(first.argsort().argsort(), second.argsort().argsort())[0, 1])


def run(part: Callable[[Judge], dict[str, float]], model: Path) -> dict[str, float]:
    """Return the figures of one part, worked out by one thread."""
    torch.set_num_threads(1)
    return part(Judge(model))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=settings.STARTER)
    folder_judged = parser.parse_args().folder
    torch.set_num_threads(settings.THREADS)
    judge = Judge(folder_judged)
    figures = times(judge) | autoencoder(judge) | ceiling(judge)
    parts = (text_to_image, image_to_image, as_served, guidance)
    with ProcessPoolExecutor(settings.THREADS, mp_context=multiprocessing.get_context("spawn")) as pool:
        for found in as_completed([pool.submit(run, part, folder_judged) for part in parts]):
            figures |= found.result()
            (settings.HOME / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))
