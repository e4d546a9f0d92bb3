"""A judge for evaluation: a small classifier that has only seen pictures the denoiser has not.

It learns the subjects from three icon sets that the denoiser never sees, and from the denoiser's own sets in mirror
image, turned, tinted and blurred, which it never sees either. `python -m training.classifier` trains it, and tells how
well it does on the denoiser's own icons as they are: no picture can be expected to do better than those.
"""

import random
import time

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from training import settings
from training.data import compose, icon, subjects
from training.latents import background

WEIGHTS = settings.HOME / "classifier.pt"
HELD_OUT = ("noto", "noto-v1", "twemoji")
PIXELS = 64


def new_classifier() -> nn.Module:
    """Return the classifier: images (B, 3, 64, 64) in [-1, 1] to one score for each subject."""

    def stage(channels_in: int, channels_out: int) -> list[nn.Module]:
        convolution = nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1, bias=False)
        return [convolution, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True)]

    layers = [*stage(3, 32), *stage(32, 64), *stage(64, 128), *stage(128, 256)]
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(1024, len(subjects()))
    )


class Examples:
    """Icons of some styles, moved, turned, tinted and blurred at random."""

    def __init__(self, styles: tuple[str, ...], seed: int):
        self.rng = random.Random(seed)
        found = [(n, icon(s, style, PIXELS), style) for n, s in enumerate(subjects()) for style in styles]
        self.icons = [(number, drawn, style) for number, drawn, style in found if drawn is not None]

    def __call__(self, size: int) -> tuple[Tensor, Tensor]:
        """Return images (size, 3, 64, 64) and the numbers of their subjects."""
        chosen = self.rng.choices(self.icons, k=size)
        images = [self.varied(drawn, self.mirrored(style)) for _, drawn, style in chosen]
        return batch(images), torch.tensor([number for number, _, _ in chosen])

    def mirrored(self, style: str) -> bool:
        """Return whether to show a mirror image: of what the denoiser learns, always."""
        return style in settings.STYLES or self.rng.random() < 0.5

    def varied(self, drawn: Image.Image, mirrored: bool) -> Image.Image:
        """Return one picture of an icon."""
        rng = self.rng
        shift = (rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.1))
        turned = drawn.rotate(rng.uniform(-15, 15), Image.Resampling.BILINEAR)
        image = compose(turned, background(PIXELS, rng)[0], rng.uniform(0.6, 1.0), shift, mirrored)
        tint = np.array([rng.uniform(0.8, 1.2) for _ in range(3)]) * rng.uniform(0.8, 1.15)
        image = Image.fromarray((np.asarray(image) * tint).clip(0, 255).astype(np.uint8))
        return image.resize((rng.choice((24, 40, 64, 64)),) * 2, Image.Resampling.BOX)


def white() -> np.ndarray:
    """Return the levels of a white background."""
    return np.full((PIXELS, PIXELS, 3), 255, np.uint8)


def batch(images: list[Image.Image]) -> Tensor:
    """Return images of any size as the classifier takes them."""
    arrays = [np.asarray(image.convert("RGB").resize((PIXELS, PIXELS), Image.Resampling.BICUBIC)) for image in images]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 127.5 - 1


def load() -> nn.Module:
    """Return the trained classifier."""
    classifier = new_classifier()
    classifier.load_state_dict(torch.load(WEIGHTS))
    return classifier.eval()


def train() -> None:
    """Train the classifier and report the share of pictures whose subject is in its first five."""
    torch.manual_seed(settings.SEED)
    torch.set_num_threads(settings.THREADS)
    classifier, examples = new_classifier(), Examples((*HELD_OUT, *settings.STYLES), settings.SEED)
    optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, settings.CLASSIFIER_STEPS)
    begun = time.time()
    for step in range(settings.CLASSIFIER_STEPS):
        images, numbers = examples(128)
        loss = functional.cross_entropy(classifier(images), numbers, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step} loss {loss.item():.3f} {time.time() - begun:.0f} s", flush=True)
    torch.save(classifier.state_dict(), WEIGHTS)
    classifier.eval()
    for style in settings.STYLES:
        own = [
            (n, compose(drawn, white(), 0.9, (0, 0), False)) for n, drawn, _ in Examples((style,), settings.SEED).icons
        ]
        with torch.no_grad():
            first = classifier(batch([image for _, image in own])).topk(5).indices
        numbers = torch.tensor([number for number, _ in own])
        print(f"{style} top 5 {(first == numbers[:, None]).any(1).float().mean():.1%}")


if __name__ == "__main__":
    train()
