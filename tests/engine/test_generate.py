"""A request from end to end: seeds, progress, cancelling, stepping requests together, running out of memory."""

import json

import numpy as np
import pytest
import torch

from generation.engine import BrokenLatents, Canceled, Engine, EngineSettings, ImageRequest, OutOfMemory
from tests.tiny_model import build_tiny_model


def request(**fields) -> ImageRequest:
    return ImageRequest(**{"prompt": "a cat", "width": 64, "height": 64, "num_inference_steps": 4, "seed": 11} | fields)


def array(image) -> np.ndarray:
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("scheduler", ["ddim", "euler_a", "dpmpp_2m_sde"])
def test_it_makes_samples_in_order_and_each_again_alone(engine, scheduler):
    result = engine.generate(request(samples=4, scheduler=scheduler))

    assert result.seeds == [11, 12, 13, 14]
    for seed, image in zip(result.seeds, result.images, strict=True):
        alone = engine.generate(request(seed=seed, scheduler=scheduler)).images[0]
        assert np.abs(array(alone) - array(image)).max() <= 1
    assert np.abs(array(result.images[0]) - array(result.images[1])).max() > 10


def test_it_makes_the_same_bytes_twice(engine, photo):
    again = request(mode="img2img", init_image=photo, scheduler="euler_a")

    assert engine.generate(again).images[0].tobytes() == engine.generate(again).images[0].tobytes()


def test_it_counts_seeds_on_from_zero_after_the_last(engine):
    result = engine.generate(request(seed=2**32 - 1, samples=2))

    assert result.seeds == [2**32 - 1, 0]
    assert np.abs(array(result.images[1]) - array(engine.generate(request(seed=0)).images[0])).max() <= 1


@pytest.mark.parametrize(("strength", "steps"), [(0.0, 1), (0.5, 2), (1.0, 4)])
def test_it_runs_at_least_one_step(engine, photo, strength, steps):
    seen = []

    engine.generate(request(mode="img2img", init_image=photo, strength=strength), lambda *step: seen.append(step))

    assert seen == [(step, steps) for step in range(steps + 1)]


def test_it_stops_at_the_step_that_cancels(engine):
    seen = []

    def cancel(step: int, steps: int) -> None:
        seen.append(step)
        if step == 2:
            raise Canceled

    with pytest.raises(Canceled):
        engine.generate(request(), cancel)
    assert seen == [0, 1, 2]


def test_it_hears_the_prompt_the_negative_prompt_and_the_guidance(engine):
    plain = array(engine.generate(request()).images[0])

    for fields in (
        {"prompt": "two boats"},
        {"negative_prompt": "two boats"},
        {"guidance_scale": 3.0},
        {"clip_skip": 1},
    ):
        assert np.abs(array(engine.generate(request(**fields)).images[0]) - plain).max() > 10


def test_it_ignores_the_negative_prompt_without_guidance(engine):
    plain = engine.generate(request(guidance_scale=1.0)).images[0]

    assert engine.generate(request(guidance_scale=1.0, negative_prompt="boats")).images[0].tobytes() == plain.tobytes()


def test_it_steps_unlike_requests_in_one_call(engine, photo):
    first = request(scheduler="euler_a", num_inference_steps=5)
    second = request(mode="img2img", init_image=photo, scheduler="heun", guidance_scale=1.0, seed=3)
    running = {id(asked): engine.prepare(asked) for asked in (first, second)}

    while active := [sample for samples in running.values() for sample in samples if not sample.is_done]:
        engine.step(active)

    for asked in (first, second):
        together = engine.finish(asked, running[id(asked)]).images[0]
        assert np.abs(array(together) - array(engine.generate(asked).images[0])).max() <= 1


def test_it_leaves_the_random_state_of_torch_alone(engine):
    torch.manual_seed(1)
    state = torch.get_rng_state()

    engine.generate(request(scheduler="euler_a"))

    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("mode", ["img2img", "inpaint"])
def test_it_refuses_a_request_without_a_picture(mode):
    with pytest.raises(ValueError, match="init_image"):
        request(mode=mode)


def test_it_refuses_to_inpaint_without_a_mask(photo):
    with pytest.raises(ValueError, match="mask_image"):
        request(mode="inpaint", init_image=photo)


def test_it_shows_no_image_of_broken_latents(engine):
    samples = engine.prepare(request())
    samples[0].latents = samples[0].latents * float("nan")

    with pytest.raises(BrokenLatents):
        engine.finish(request(), samples)


def test_a_vae_that_overflows_in_half_precision_computes_in_float32_from_then_on(tiny):
    engine = Engine.load(EngineSettings(model=str(tiny), safety="none", dtype="float16"))
    vae = engine._checkpoint.vae
    vae.decoder.conv_in.weight.data *= 1e5  # in float32 the next normalisation makes up for it
    painted = []

    first = engine.generate(request(), on_draft=lambda paint: painted.append(array(paint()).std())).images[0]

    assert (vae.dtype, engine.dtype) == (torch.float32, torch.float16)
    assert array(first).std() > 20
    assert min(painted) > 20
    assert engine.generate(request()).images[0].tobytes() == first.tobytes()


def test_it_shows_no_image_of_a_broken_vae(own_engine):
    own_engine._checkpoint.vae.decoder.conv_out.bias.data.fill_(float("nan"))

    with pytest.raises(BrokenLatents, match="The VAE returned NaN"):
        own_engine.generate(request())


@pytest.fixture
def own_engine(tiny) -> Engine:
    """An engine that a test may change."""
    return Engine.load(EngineSettings(model=str(tiny), safety="none", dtype="float32"))


def test_it_tries_again_in_less_memory(own_engine, engine):
    def fail_once(step: int, steps: int) -> None:
        if step == 1 and not own_engine.saves_memory:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    image = own_engine.generate(request(), fail_once).images[0]

    assert own_engine.saves_memory
    assert np.abs(array(image) - array(engine.generate(request()).images[0])).max() <= 1


def test_pictures_that_do_not_fit_together_are_coded_one_by_one(own_engine, engine, photo, monkeypatch):
    vae = own_engine._checkpoint.vae
    coded = []
    for part in (vae.encoder, vae.decoder):
        monkeypatch.setattr(part, "forward", fitting(part.forward, lambda x: len(x) == 1, coded))
    asked = request(mode="img2img", init_image=photo, samples=3)

    samples = own_engine.prepare_all([asked, asked])
    result = own_engine.finish(asked, own_engine.prepare(asked))
    own_engine.generate(asked)

    assert [len(of_one) for of_one in samples] == [3, 3]
    assert len(result.images) == 3
    assert coded == [2, 1, 1] + [1, 1, 1, 1] * 2  # what failed once isn't tried again
    assert not own_engine.saves_memory
    assert own_engine.facts()["attention"] == engine.facts()["attention"]


def fitting(forward, fits, coded):
    """Return a forward that has memory for some tensors only, and notes how many pictures each has."""

    def call(x, *arguments, **named):
        coded.append(len(x))
        if not fits(x):
            raise RuntimeError("CUDA out of memory")
        return forward(x, *arguments, **named)

    return call


def test_a_picture_that_does_not_fit_is_decoded_in_tiles(tmp_path, monkeypatch):
    folder = build_tiny_model(tmp_path)
    config = json.loads((folder / "vae" / "config.json").read_text())
    (folder / "vae" / "config.json").write_text(json.dumps(config | {"sample_size": 512}))
    engine = Engine.load(EngineSettings(model=str(folder), safety="none", dtype="float32"))
    decoder, coded = engine._checkpoint.vae.decoder, []
    monkeypatch.setattr(decoder, "forward", fitting(decoder.forward, lambda x: x.shape[2:] <= (32, 32), coded))

    image = engine.generate(request(width=512, height=512, num_inference_steps=1)).images[0]

    assert image.size == (512, 512)
    assert len(coded) == 1 + 3 * 3  # overlapping tiles
    assert engine.saves_memory
    assert engine.facts()["attention"] == "AttnProcessor2_0"


def test_it_gives_up_when_less_memory_is_not_enough(own_engine):
    def fail(step: int, steps: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(OutOfMemory):
        own_engine.generate(request(), fail)


def test_it_lets_other_errors_through(own_engine):
    def fail(step: int, steps: int) -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        own_engine.generate(request(), fail)
    assert not own_engine.saves_memory
