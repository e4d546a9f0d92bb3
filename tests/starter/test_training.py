"""Training goes on where it stopped."""

import random
import shutil

import pytest
import torch

pytest.importorskip("resvg_py", reason="needs the training extra")

from training import denoiser, settings
from training.captions import caption
from training.data import Subject
from training.latents import Latents

CAT = Subject("cat", ("kitten", "pet"), 3, "1f408")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder to train in: eight random pictures, and a UNet that learns in milliseconds."""
    for part in ("tokenizer", "text_encoder"):
        shutil.copytree(settings.STARTER / part, tmp_path / part)
    sizes = {pixels: torch.randn(2, 4, 32, pixels // 16, pixels // 16).half() for pixels in (256, 512)}
    backgrounds = {pixels: [["white"] * 4] * 2 for pixels in sizes}
    torch.save(Latents([(CAT, "3d")] * 4, sizes, backgrounds), tmp_path / "latents-everyday.pt")
    monkeypatch.setattr(settings, "HOME", tmp_path)
    monkeypatch.setattr(denoiser, "CHECKPOINT", tmp_path / "denoiser.pt")
    monkeypatch.setattr(settings, "EVERYDAY_ONLY", True)
    monkeypatch.setattr(settings, "BLOCK_OUT_CHANNELS", (32, 32, 32, 32, 32))
    monkeypatch.setattr(settings, "BATCH", 4)
    monkeypatch.setattr(settings, "LARGE_EVERY", 2)
    monkeypatch.setattr(settings, "COOLDOWN_STEPS", 1)
    yield tmp_path
    torch.set_flush_denormal(False)  # training sets it, and other tests want every number


def trained(steps: int, monkeypatch) -> dict:
    monkeypatch.setattr(settings, "STEPS", steps)
    denoiser.train()
    return torch.load(denoiser.CHECKPOINT, weights_only=False)


def test_it_goes_on_exactly_as_if_it_had_not_been_stopped(home, monkeypatch):
    straight = trained(4, monkeypatch)
    denoiser.CHECKPOINT.unlink()
    trained(2, monkeypatch)

    resumed = trained(4, monkeypatch)

    assert resumed["step"] == straight["step"] == 4
    for name, weight in straight["unet"].items():
        assert torch.equal(weight, resumed["unet"][name]), name
    for before, after in zip(straight["ema"]["shadow_params"], resumed["ema"]["shadow_params"], strict=True):
        assert torch.equal(before, after)


def test_a_caption_says_what_is_in_the_picture_and_nothing_else():
    rng = random.Random(0)

    captions = [caption(CAT, "flat", "blue", rng) for _ in range(300)]

    assert all(any(name in found.text for name in ("cat", "kitten", "kitty", "pet")) for found in captions)
    assert all(("blue background" in found.text) == (found.background == "blue") for found in captions)
    assert not any("3d" in found.text for found in captions)
