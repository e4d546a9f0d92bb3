"""The model of the benchmarks: the built-in one, as plain diffusers runs it."""

from benchmarks.model import STARTER, guided_throughout
from generation.engine import Engine, EngineSettings, ImageRequest


def guided_steps(model: str) -> int:
    engine = Engine.load(EngineSettings(model=model, safety="none"))
    return engine.prepare(ImageRequest(prompt="a cat", width=64, height=64, num_inference_steps=20))[0].guided_steps


def test_its_guidance_never_ends_though_that_of_the_built_in_model_does() -> None:
    with guided_throughout() as model:
        lent = (model.name, guided_steps(str(model)))

    assert lent == ("starter", 20)
    assert guided_steps(str(STARTER)) == 11
    assert not model.exists()
