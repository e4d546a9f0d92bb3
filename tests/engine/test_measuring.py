"""What the engine says about itself and its speed."""

import pytest

from generation.engine import EngineSettings, ImageRequest, load_model
from generation.engine.measuring import step_seconds
from generation.engine.tuning import choose


def test_a_step_takes_some_time(engine):
    assert 0 < step_seconds(engine, images=2, pixels=64) < 60


def test_it_warms_up_at_its_own_size_and_at_the_usual_one(engine, monkeypatch):
    sizes = []
    monkeypatch.setattr(engine, "generate", lambda request: sizes.append((request.width, request.height)))

    engine.warm_up()

    assert sizes == [(engine.native_pixels, engine.native_pixels), (512, 512)]


@pytest.mark.parametrize("mode", ["img2img", "inpaint"])
def test_a_model_that_needs_a_picture_is_warmed_up_and_measured_with_one(tiny_sd3, mode, tmp_path, monkeypatch):
    engine = load_model(EngineSettings(model=str(tiny_sd3), safety="none", dtype="float32"))
    monkeypatch.setattr(engine, "_pipelines", {mode: engine._pipelines[mode]})
    monkeypatch.setattr(engine, "modes", [mode])
    steps = []
    monkeypatch.setattr(ImageRequest, "width", 64)  # instead of 512, for speed

    engine.warm_up()
    choose(engine, tmp_path / "tuning.json", batch_images=4)
    engine.generate(engine.trial(64, num_inference_steps=4), lambda step, steps_in_all: steps.append(step))

    assert engine.facts()["measured"].endswith("for 1 at once")
    assert steps == [0, 1, 2, 3, 4]


def test_it_tells_what_was_chosen(engine):
    facts = engine.facts()

    assert {name: facts[name] for name in ("device", "precision", "attention", "safety checker")} == {
        "device": "cpu",
        "precision": "float32",
        "attention": "AttnProcessor2_0",
        "safety checker": "none",
    }
    assert int(facts["threads"]) >= 1


def test_its_native_size_is_what_the_unet_was_made_for(engine):
    assert engine.native_pixels**2 == engine.native_latents * 8**2
