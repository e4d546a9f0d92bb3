"""What the engine says about itself and its speed."""

from generation.engine.measuring import step_seconds


def test_a_step_takes_some_time(engine):
    assert 0 < step_seconds(engine, images=2, pixels=64) < 60


def test_it_warms_up_at_its_own_size_and_at_the_usual_one(engine, monkeypatch):
    sizes = []
    monkeypatch.setattr(engine, "generate", lambda request: sizes.append((request.width, request.height)))

    engine.warm_up()

    assert sizes == [(engine.native_pixels, engine.native_pixels), (512, 512)]


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
