"""Many callers share the steps of one loop, and each gets the image that it would get alone."""

import random
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch
from PIL import Image

from generation.engine import BatchingEngine, BrokenLatents, Engine, EngineSettings, ImageRequest, OutOfMemory
from generation.engine.denoising import Denoiser, Sample
from tests.tiny_model import build_tiny_model, cut_guidance_off

SCHEDULERS = ("ddim", "euler", "euler_a", "dpmpp_2m", "dpmpp_2m_sde", "heun", "lms", "pndm", "unipc", "lcm")


@pytest.fixture
def engine(tiny: Path) -> Engine:
    """An engine of the test's own, since some of these break it."""
    return Engine.load(EngineSettings(model=str(tiny), safety="none", dtype="float32"))


@pytest.fixture
def batching(engine: Engine) -> Iterator[BatchingEngine]:
    made = BatchingEngine(engine)
    yield made
    made.close()


def request(**fields: object) -> ImageRequest:
    defaults = {"prompt": "a cat", "width": 64, "height": 64, "num_inference_steps": 6, "scheduler": "ddim"}
    return ImageRequest(**defaults | fields)  # type: ignore[arg-type]


def random_request(rng: random.Random, photo: Image.Image, mask: Image.Image) -> ImageRequest:
    mode = rng.choice(["text2img", "img2img", "inpaint"])
    side = rng.choice([48, 64])
    return request(
        mode=mode,
        prompt=rng.choice(["a cat", "a dog on a bench", "a very long prompt about a cat " * 20]),
        negative_prompt=rng.choice(["", "rain"]),
        width=64,
        height=side,
        num_inference_steps=rng.randint(2, 9),
        guidance_scale=rng.choice([1.0, 3.0, 7.5]),
        strength=rng.choice([0.2, 0.7, 1.0]),
        seed=rng.randrange(1000),
        samples=rng.randint(1, 3),
        scheduler=rng.choice(SCHEDULERS),
        init_image=photo,
        mask_image=mask,
    )


def in_threads(batching: BatchingEngine, requests: list[ImageRequest]) -> list[Future]:
    with ThreadPoolExecutor(len(requests)) as threads:
        return [threads.submit(batching.generate, each) for each in requests]


def levels(images: list[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(image) for image in images]).astype(int)


@pytest.mark.parametrize("mix", range(4))
def test_in_any_company_an_image_is_the_one_it_would_be_alone(batching, engine, photo, mask, mix):
    rng = random.Random(mix)
    requests = [random_request(rng, photo, mask) for _ in range(12)]

    results = [future.result() for future in in_threads(batching, requests)]

    for each, result in zip(requests, results, strict=True):
        alone = engine.generate(each)
        assert np.abs(levels(result.images) - levels(alone.images)).max() <= 1
        assert (result.nsfw, result.seeds) == (alone.nsfw, alone.seeds)


def test_those_of_one_size_share_the_calls_of_the_unet(batching, engine, monkeypatch):
    together = []
    predict, stepping, gate = engine.predict, Event(), Event()

    def counting(samples):
        stepping.set()
        gate.wait()
        together.append(len(samples))
        return predict(samples)

    monkeypatch.setattr(engine, "predict", counting)
    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(batching.generate, request(num_inference_steps=2))
        stepping.wait()
        others = [threads.submit(batching.generate, request(seed=seed)) for seed in range(1, 8)]
        wait_until(lambda: batching._arriving.qsize() == 7)
        gate.set()
        for future in [first, *others]:
            future.result()

    assert together == [1, 8, 7, 7, 7, 7, 7]  # the first ends after its second step


def wait_until(true) -> None:
    for _ in range(2000):
        if true():
            return
        Event().wait(0.005)
    raise AssertionError("it never came true")


@pytest.mark.parametrize(("kind", "mode", "calls"), [("sd", "img2img", [4, 2]), ("inpainting", "inpaint", [4, 4, 4])])
def test_pictures_that_wait_are_encoded_together(tiny, tiny_inpainting, photo, mask, monkeypatch, kind, mode, calls):
    folder = {"sd": tiny, "inpainting": tiny_inpainting}[kind]
    engine = Engine.load(EngineSettings(model=str(folder), safety="none", dtype="float32"))
    requests = [request(mode=mode, init_image=photo, mask_image=mask, seed=seed) for seed in range(6)]
    alone = [engine.generate(each) for each in requests]
    batching, together, gate = BatchingEngine(engine), [], Event()
    encode = engine._checkpoint.vae.encode
    monkeypatch.setattr(engine._checkpoint.vae, "encode", lambda x: together.append(len(x)) or encode(x))

    batching._ends.submit(gate.wait)
    with ThreadPoolExecutor(len(requests)) as threads:
        futures = [threads.submit(batching.generate, each) for each in requests]
        wait_until(lambda: batching._ends._preparing._waiting.qsize() == len(requests))
        gate.set()
        results = [future.result() for future in futures]
    batching.close()

    assert together == calls
    for result, expected in zip(results, alone, strict=True):
        assert np.abs(levels(result.images) - levels(expected.images)).max() <= 1


def test_no_size_waits_longer_than_there_are_sizes(batching, engine, monkeypatch):
    sizes = []
    predict, gate = engine.predict, Event()

    def noting(samples):
        gate.wait()
        sizes.append(tuple(samples[0].latents.shape[2:]))
        return predict(samples)

    monkeypatch.setattr(engine, "predict", noting)
    requests = [request(height=height, seed=seed) for height in (32, 48, 64) for seed in range(3)]
    with ThreadPoolExecutor(len(requests)) as threads:
        futures = [threads.submit(batching.generate, each) for each in requests]
        wait_until(lambda: batching._arriving.qsize() + len({s.ticket for s in batching._seats}) == len(requests))
        gate.set()
        for future in futures:
            future.result()

    rounds = [set(sizes[start : start + 3]) for start in range(1, len(sizes) - 3, 3)]
    assert all(len(each) == 3 for each in rounds)


def test_each_step_of_the_loop_is_timed(engine):
    seconds = []
    batching = BatchingEngine(engine, on_call=seconds.append)

    batching.generate(request(num_inference_steps=6, samples=2))
    batching.close()

    assert len(seconds) == 6
    assert all(each > 0 for each in seconds)


def test_no_call_of_the_unet_is_larger_than_the_batch_may_be(engine, monkeypatch):
    batching = BatchingEngine(engine, batch_images=2)
    rows = []
    predict = engine.predict

    def counting(samples):
        rows.append(sum(1 if sample.guide is None else 2 for sample in samples))
        return predict(samples)

    monkeypatch.setattr(engine, "predict", counting)
    native = int(engine.native_latents**0.5) * 8  # the VAE makes a latent of 8 pixels
    with_guidance = [request(width=native, height=native, seed=seed) for seed in range(3)]
    without = [request(width=native, height=native, seed=seed, guidance_scale=1.0) for seed in range(3)]

    for future in in_threads(batching, with_guidance + without):
        future.result()
    batching.close()

    assert max(rows) <= 4


@pytest.mark.parametrize(
    ("small_parameters", "met"),
    [(10**9, {2, 4, 6, 8, 12, 16, 20, 24, 28, 32}), (0, {2 * images for images in range(1, 17)})],
)
def test_a_small_unet_on_a_cpu_meets_few_numbers_of_rows_and_answers_as_for_each_alone(
    engine, monkeypatch, small_parameters, met
):
    monkeypatch.setattr("generation.engine.denoising.SMALL_PARAMETERS", small_parameters)
    denoiser, unet, rows = Denoiser(engine.network), engine.network.forward, []
    seats = engine.prepare(request(samples=16))
    alone = [prediction for seat in seats for prediction in denoiser.predict([seat])]

    def noting(x, *arguments, **options):
        rows.append(len(x))
        return unet(x, *arguments, **options)

    monkeypatch.setattr(engine.network, "forward", noting)
    for images in range(1, 17):
        together = denoiser.predict(seats[:images])

        assert len(together) == images
        assert all(torch.allclose(*pair, atol=1e-4) for pair in zip(together, alone, strict=False))
    assert set(rows) == met


def test_a_sample_whose_guidance_is_over_takes_one_row_and_gets_its_image_beside_guided_ones(tmp_path):
    model = cut_guidance_off(build_tiny_model(tmp_path), 0.5)
    engine = Engine.load(EngineSettings(model=str(model), safety="none", dtype="float32"))
    wanted = [request(seed=seed, num_inference_steps=steps) for seed, steps in enumerate((2, 5, 9))]
    alone = [levels(engine.generate(each).images) for each in wanted]
    batching = BatchingEngine(engine)
    seat_rows, step = [], batching._step

    def noting(seats):
        seat_rows.extend((seat.sample.position, seat.rows) for seat in seats if len(seat.sample.timesteps) == 9)
        step(seats)

    batching._step = noting
    together = [levels(future.result().images) for future in in_threads(batching, wanted)]
    batching.close()

    assert seat_rows == [(0, 2), (1, 2), (2, 2), (3, 2), (4, 2), (5, 1), (6, 1), (7, 1), (8, 1)]
    assert max(np.abs(mine - its).max() for mine, its in zip(together, alone, strict=True)) <= 1


class Canceled(Exception):
    pass


def test_a_caller_that_cancels_leaves_at_the_next_step_and_disturbs_nobody(batching, engine):
    seen = []

    def cancel(step: int, steps: int) -> None:
        seen.append(step)
        if step == 2:
            raise Canceled

    with ThreadPoolExecutor(2) as threads:
        canceled = threads.submit(batching.generate, request(num_inference_steps=40), cancel)
        other = threads.submit(batching.generate, request(seed=3))

        with pytest.raises(Canceled):
            canceled.result()
        image = other.result().images

    assert seen == [0, 1, 2]
    assert np.abs(levels(image) - levels(engine.generate(request(seed=3)).images)).max() <= 1


def test_a_sample_that_breaks_the_unet_fails_alone(batching, engine, monkeypatch):
    predict = engine.predict

    def breaking(samples: list[Sample]) -> list[torch.Tensor]:
        if any(sample.guidance_scale == 13.0 for sample in samples):
            raise ValueError("unlucky")
        return predict(samples)

    monkeypatch.setattr(engine, "predict", breaking)
    requests = [request(seed=seed, guidance_scale=13.0 if seed == 2 else 7.5) for seed in range(5)]

    futures = in_threads(batching, requests)

    assert str(futures.pop(2).exception()) == "unlucky"
    assert all(future.exception() is None for future in futures)


def test_a_sample_whose_scheduler_breaks_fails_alone(batching, engine, monkeypatch):
    advance = engine.advance

    def breaking(sample: Sample, prediction: torch.Tensor) -> None:
        if sample.guidance_scale == 13.0 and sample.position == 3:
            raise ValueError("unlucky")
        advance(sample, prediction)

    monkeypatch.setattr(engine, "advance", breaking)
    requests = [request(seed=seed, guidance_scale=13.0 if seed == 2 else 7.5) for seed in range(5)]

    futures = in_threads(batching, requests)

    assert str(futures.pop(2).exception()) == "unlucky"
    assert all(future.exception() is None for future in futures)


def test_a_picture_that_breaks_the_encoder_fails_alone(batching, engine, photo, monkeypatch):
    encode, gate = engine._checkpoint.vae.encode, Event()

    def breaking(x: torch.Tensor) -> object:
        if (x == -1).all(dim=(1, 2, 3)).any():
            raise ValueError("unlucky")
        return encode(x)

    monkeypatch.setattr(engine._checkpoint.vae, "encode", breaking)
    pictures = [Image.new("RGB", (64, 64)) if seed == 2 else photo for seed in range(5)]
    requests = [request(mode="img2img", init_image=picture, seed=seed) for seed, picture in enumerate(pictures)]

    batching._ends.submit(gate.wait)
    with ThreadPoolExecutor(len(requests)) as threads:
        futures = [threads.submit(batching.generate, each) for each in requests]
        wait_until(lambda: batching._ends._preparing._waiting.qsize() == len(requests))
        gate.set()

    assert str(futures.pop(2).exception()) == "unlucky"
    assert all(future.exception() is None for future in futures)


def test_a_sample_of_nan_fails_alone(batching, engine, monkeypatch):
    advance = engine.advance

    def breaking(sample: Sample, prediction: torch.Tensor) -> None:
        advance(sample, prediction * float("nan") if sample.guidance_scale == 13.0 else prediction)

    monkeypatch.setattr(engine, "advance", breaking)
    requests = [request(seed=seed, guidance_scale=13.0 if seed == 2 else 7.5) for seed in range(5)]

    futures = in_threads(batching, requests)

    assert isinstance(futures.pop(2).exception(), BrokenLatents)
    assert all(future.exception() is None for future in futures)


def test_where_memory_runs_out_fewer_share_a_call_and_all_are_made(batching, engine, monkeypatch):
    predict = engine.predict

    def small(samples: list[Sample]) -> list[torch.Tensor]:
        if len(samples) > 2:
            raise RuntimeError("[enforce fail] can't allocate memory")
        return predict(samples)

    monkeypatch.setattr(engine, "predict", small)

    futures = in_threads(batching, [request(seed=seed, samples=4) for seed in range(2)])

    assert all(future.exception() is None for future in futures)
    assert not engine.saves_memory
    assert batching.most_latents == 2 * 2 * 8 * 8


def test_only_the_sample_that_cannot_run_alone_runs_out_of_memory(batching, engine, monkeypatch):
    predict = engine.predict

    def too_large(samples: list[Sample]) -> list[torch.Tensor]:
        if any(sample.latents.shape[2] == 8 for sample in samples):
            raise RuntimeError("CUDA out of memory")
        return predict(samples)

    monkeypatch.setattr(engine, "predict", too_large)

    large, small = in_threads(batching, [request(), request(width=32, height=32)])

    assert isinstance(large.exception(), OutOfMemory)
    assert small.exception() is None
    assert engine.saves_memory  # it was tried


def test_whoever_shared_a_step_is_told_where_recovering_fails_too_and_the_loop_goes_on(batching, engine):
    def fail(*samples):
        raise RuntimeError("CUDA out of memory" if samples else "CUDA error: an illegal memory access was encountered")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "predict", fail)
        patch.setattr(engine, "release_cache", fail)
        failed = in_threads(batching, [request(seed=seed) for seed in range(2)])

    (later,) = in_threads(batching, [request()])

    assert ["illegal memory access" in str(future.exception()) for future in failed] == [True, True]
    assert later.exception() is None


def test_a_request_that_cannot_begin_is_refused_and_the_loop_goes_on(batching):
    wrong, right = in_threads(batching, [request(scheduler="nonsense"), request()])

    assert type(wrong.exception()).__name__ == "UnknownScheduler"
    assert right.exception() is None


def test_drafts_are_painted_beside_the_loop_and_steps_are_counted_in_order(batching):
    steps, drafts = [], []

    batching.generate(
        request(num_inference_steps=8),
        lambda step, steps_in_all: steps.append((step, steps_in_all)),
        lambda paint: drafts.append(paint().size),
    )

    assert steps == [(step, 8) for step in range(9)]
    assert drafts
    assert set(drafts) == {(64, 64)}


def test_what_a_draft_raises_ends_the_request(batching):
    def broken(paint) -> None:
        raise Canceled

    with pytest.raises(Canceled):
        batching.generate(request(num_inference_steps=200), None, broken)


def test_the_shares_of_the_time_add_up_to_no_more_than_two_threads_had(batching):
    begun = time.perf_counter()
    results = [future.result() for future in in_threads(batching, [request(seed=seed) for seed in range(6)])]
    seconds = time.perf_counter() - begun

    assert all(result.accelerator_seconds > 0 for result in results)
    assert sum(result.accelerator_seconds for result in results) < 2 * seconds


def test_a_prompt_is_encoded_once(batching, engine, monkeypatch):
    calls = []
    embed = engine._preparation._prompts._embed
    monkeypatch.setattr(engine._preparation._prompts, "_embed", lambda *arguments: calls.append(1) or embed(*arguments))

    for seed in range(3):
        batching.generate(request(seed=seed, negative_prompt="rain", num_inference_steps=1))

    assert len(calls) == 2  # the prompt and the negative prompt
