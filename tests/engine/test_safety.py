"""Unsafe images are black and said to be unsafe."""

import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessorPil

from generation.engine import Engine, EngineSettings, ImageRequest
from generation.engine.loading import load_checkpoint
from generation.engine.safety import DiffusersChecker, OpenNsfw, build_checker
from tests.tiny_model import build_tiny_model

REQUEST = ImageRequest(prompt="a cat", width=64, height=72, num_inference_steps=2, samples=2)
BLANK = Image.new("RGB", (64, 72)).tobytes()


@pytest.fixture
def strict_engine(tiny) -> Engine:
    """An engine to which every image is unsafe."""
    return Engine(load_checkpoint(EngineSettings(model=str(tiny), dtype="float32")), OpenNsfw(threshold=0.0))


def test_it_shows_images_that_open_nsfw_finds_harmless(tiny):
    result = Engine.load(EngineSettings(model=str(tiny), dtype="float32")).generate(REQUEST)

    assert result.nsfw == [False, False]
    assert BLANK not in [image.tobytes() for image in result.images]


def test_it_blanks_unsafe_images(strict_engine):
    result = strict_engine.generate(REQUEST)

    assert result.nsfw == [True, True]
    assert [image.tobytes() for image in result.images] == [BLANK, BLANK]


def test_it_checks_nothing_when_told_not_to(strict_engine):
    result = strict_engine.generate(ImageRequest(**vars(REQUEST) | {"safety_checker": False}))

    assert result.nsfw == [False, False]
    assert BLANK not in [image.tobytes() for image in result.images]


def test_it_checks_nothing_when_settings_say_none(tiny):
    assert build_checker(EngineSettings(model=str(tiny), safety="none"), torch.device("cpu")) is None


@pytest.mark.parametrize("variant", [None, "fp16"])
@pytest.mark.parametrize(("concept_weight", "unsafe"), [(-2.0, True), (2.0, False)])
def test_it_uses_the_checker_of_the_checkpoint(tmp_path, concept_weight, unsafe, variant):
    folder = build_tiny_model(tmp_path)
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(projection_dim=8, vision_config=vision | {"image_size": 32, "patch_size": 16})
    checker = StableDiffusionSafetyChecker(config)
    checker.concept_embeds_weights.data.fill_(concept_weight)
    checker.save_pretrained(folder / "safety_checker", variant=variant)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    processor.save_pretrained(folder / "feature_extractor")
    index = (folder / "model_index.json").read_text()
    named = '"safety_checker": [\n    "stable_diffusion",\n    "StableDiffusionSafetyChecker"\n  ]'
    (folder / "model_index.json").write_text(index.replace('"safety_checker": [\n    null,\n    null\n  ]', named))

    engine = Engine.load(EngineSettings(model=str(folder), safety="diffusers", variant=variant))

    assert isinstance(engine._safety_checker, DiffusersChecker)
    assert engine.generate(REQUEST).nsfw == [unsafe, unsafe]
