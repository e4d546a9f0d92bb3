"""A judge for evaluation: a small classifier that has only seen icon sets the denoiser has not.

`python -m training.classifier` trains it, and tells how well it does on the denoiser's own icon sets: no picture can be
expected to do better than those.
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
STYLES = ("noto", "noto-v1", "twemoji")
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
        found = [(n, icon(s, style, PIXELS)) for n, s in enumerate(subjects()) for style in styles]
        self.icons = [(number, drawn) for number, drawn in found if drawn is not None]

    def __call__(self, size: int) -> tuple[Tensor, Tensor]:
        """Return images (size, 3, 64, 64) and the numbers of their subjects."""
        chosen = self.rng.choices(self.icons, k=size)
        return batch([self.varied(drawn) for _, drawn in chosen]), torch.tensor([number for number, _ in chosen])

    def varied(self, drawn: Image.Image) -> Image.Image:
        """Return one picture of an icon."""
        rng = self.rng
        shift = (rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.1))
        turned = drawn.rotate(rng.uniform(-15, 15), Image.Resampling.BILINEAR)
        image = compose(turned, background(PIXELS, rng)[0], rng.uniform(0.6, 1.0), shift, rng.random() < 0.5)
        tint = np.array([rng.uniform(0.8, 1.2) for _ in range(3)]) * rng.uniform(0.8, 1.15)
        image = Image.fromarray((np.asarray(image) * tint).clip(0, 255).astype(np.uint8))
        return image.resize((rng.choice((24, 40, 64, 64)),) * 2, Image.Resampling.BOX)


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
    classifier, examples = new_classifier(), Examples(STYLES, settings.SEED)
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
    for style in (*STYLES, *settings.STYLES):
        images, numbers = Examples((style,), settings.SEED + 1)(600)
        with torch.no_grad():
            first = classifier(images).topk(5).indices
        print(f"{style} top 5 {(first == numbers[:, None]).any(1).float().mean():.1%}")


if __name__ == "__main__":
    train()
