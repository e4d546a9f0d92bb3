"""Judge a model: `python -m training.evaluate [FOLDER]` writes figures and contact sheets to settings.HOME."""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from PIL import Image
from torch import Tensor

from generation.engine.patch_autoencoder import PatchAutoencoder  # also lets diffusers load it by its name
from training import classifier, settings
from training.data import HELD_OUT_PHOTOS, folder, icon, subjects
from training.prompts import EVERYDAY, UNKNOWN
from training.sheet import grid

SEEDS = range(4)
STRENGTHS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
STARTS = sorted(path for path in (settings.ROOT / "static" / "samples").iterdir() if path.suffix in (".jpg", ".png"))
TARGETS = (
    "a small cat looking at me",
    "one fresh red apple",
    "a red car",
    "a wise owl at night",
)  # for each start image
LABELS = [subject.label for subject in subjects()]


class Judge:
    """The model and the classifier, both fixed."""

    def __init__(self, model: Path):
        begun = time.perf_counter()
        self.text2img = StableDiffusionPipeline.from_pretrained(model, dtype=torch.float32)
        self.load_seconds = time.perf_counter() - begun
        self.img2img = StableDiffusionImg2ImgPipeline(**self.text2img.components, requires_safety_checker=False)
        for pipeline in (self.text2img, self.img2img):
            pipeline.set_progress_bar_config(disable=True)
        self.classifier = classifier.load()

    def draw(self, prompt: str, seed: int, **options: Any) -> Image.Image:
        """Return a picture, of 256 x 256 in 20 steps unless told otherwise; with `image` made from that one."""
        defaults = {"num_inference_steps": 20} | ({} if "image" in options else {"width": 256, "height": 256})
        pipeline = self.img2img if "image" in options else self.text2img
        return pipeline(prompt, generator=torch.Generator().manual_seed(seed), **defaults | options).images[0]

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


def autoencoder(vae: PatchAutoencoder) -> dict[str, float]:
    """Return the mean decibels on icons of a set it never saw, and on photos it never saw."""
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


def text_to_image(judge: Judge) -> dict[str, float]:
    """Return the share of pictures whose subject is seen, what a seed changes, and how clean unknown words come out."""
    made = {prompt: [judge.draw(prompt, seed) for seed in SEEDS] for prompt in (*EVERYDAY, *UNKNOWN)}
    grid([image for images in made.values() for image in images], 4 * 5).save(settings.HOME / "text2img.png")
    seen = {prompt: np.mean([judge.sees(image, prompt) for image in made[prompt]]) for prompt in EVERYDAY}
    print("missed:", ", ".join(prompt for prompt, share in seen.items() if share < 0.5))
    return {
        "top5": float(np.mean(list(seen.values()))),
        "seed_distance_min": min(distance(images[0], other) for images in made.values() for other in images[1:]),
        "roughness_unknown": float(np.mean([roughness(image) for prompt in UNKNOWN for image in made[prompt]])),
        "roughness_known": float(np.mean([roughness(image) for prompt in EVERYDAY for image in made[prompt]])),
    }


def image_to_image(judge: Judge) -> dict[str, float]:
    """Return how strength, guidance and the negative prompt are obeyed from photos and doodles."""
    starts = [Image.open(path).convert("RGB").resize((256, 256), Image.Resampling.LANCZOS) for path in STARTS]
    rows, distances, seen = [], [], []
    for start in starts:
        for prompt in TARGETS:
            row = [judge.draw(prompt, 0, image=start, strength=strength) for strength in STRENGTHS]
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
    """Return mean scores at guidance 1 and 12, and of a thing with and without it as the negative prompt."""
    prompts = list(EVERYDAY)[::4]

    def mean(**options: Any) -> float:
        return float(np.mean([judge.score(judge.draw(prompt, 0, **options), prompt) for prompt in prompts]))

    without = [judge.score(judge.draw("", 0, negative_prompt=prompt), prompt) for prompt in prompts]
    return {
        "score_guidance_1": mean(guidance_scale=1.0),
        "score_guidance_12": mean(guidance_scale=12.0),
        "score_empty": float(np.mean([judge.score(judge.draw("", 0), prompt) for prompt in prompts])),
        "score_negative": float(np.mean(without)),
    }


def times(judge: Judge) -> dict[str, float]:
    """Return seconds: loading, 256 x 256 in 20 steps, and 512 x 512 in 30 steps at strength 0.7."""
    start = Image.open(STARTS[0]).convert("RGB").resize((512, 512))
    judge.draw("a cat", 0, num_inference_steps=2)
    begun = time.perf_counter()
    judge.draw("a cat", 0)
    small = time.perf_counter()
    judge.draw("a cat", 0, image=start, strength=0.7, num_inference_steps=30)
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=settings.STARTER)
    torch.set_num_threads(settings.THREADS)
    judge = Judge(parser.parse_args().folder)
    figures: dict[str, float] = {}
    for part in (times, lambda judge: autoencoder(judge.text2img.vae), text_to_image, image_to_image, guidance):
        figures |= part(judge)
        (settings.HOME / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))
