"""The engine beside plain diffusers, img2img with one model, in one run: python -m benchmarks.engine.

Everybody makes the same requests, in turns, and a round's ratios are those of one minute on one machine. Each has a
process of its own: OpenMP computes slower as soon as a second thread of a process computes with several.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionImg2ImgPipeline
from PIL import Image

from benchmarks.calls import calls
from benchmarks.model import guided_throughout
from benchmarks.report import Table, publish, quantile, say
from generation.engine import BatchingEngine, Engine, EngineSettings, ImageRequest
from generation.engine.loading import choose_device, choose_dtype

Make = Callable[[Sequence[ImageRequest]], list[float]]
"""Makes the images of all requests, that many callers' at once, and returns how long each caller waited, in seconds."""


def requests(callers: int, mixed: bool, pixels: int, seed: int) -> list[ImageRequest]:
    """Return a request for each caller: all alike but for seed and prompt, or of mixed strength and steps."""
    return [
        ImageRequest(
            mode="img2img",
            prompt=call.prompt,
            negative_prompt=call.negative_prompt,
            width=pixels,
            height=pixels,
            init_image=Image.open(call.start).convert("RGB").resize((pixels, pixels)),
            strength=call.strength,
            num_inference_steps=call.num_inference_steps,
            seed=call.seed,
        )
        for call in calls(callers, seed, mixed)
    ]


def of_diffusers(model: str, dtype: torch.dtype, device: torch.device) -> Make:
    """Return the pipeline as a program would call it, one request after another."""
    pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(model, dtype=dtype, safety_checker=None).to(device)
    pipeline.set_progress_bar_config(disable=True)

    def make(wanted: Sequence[ImageRequest]) -> list[float]:
        begun, waited = time.perf_counter(), []
        for request in wanted:
            pipeline(**arguments(request))
            waited.append(time.perf_counter() - begun)  # those behind it waited as well
        return waited

    return make


def of_diffusers_in_batches(model: str, dtype: torch.dtype, device: torch.device) -> Make:
    """Return the pipeline called once for all requests, which must be alike."""
    pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(model, dtype=dtype, safety_checker=None).to(device)
    pipeline.set_progress_bar_config(disable=True)

    def make(wanted: Sequence[ImageRequest]) -> list[float]:
        begun, each = time.perf_counter(), [arguments(request) for request in wanted]
        together: dict[str, Any] = each[0] | {
            name: [one[name] for one in each] for name in ("prompt", "negative_prompt", "image", "generator")
        }
        pipeline(**together)
        return [time.perf_counter() - begun] * len(wanted)

    return make


def arguments(request: ImageRequest) -> dict[str, Any]:
    """Return a request as diffusers takes it."""
    return {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "image": request.init_image,
        "strength": request.strength,
        "num_inference_steps": request.num_inference_steps,
        "guidance_scale": request.guidance_scale,
        "generator": torch.Generator("cpu").manual_seed(request.seed),
    }


def of_engine(model: str, together: bool) -> Make:
    """Return callers of the engine: all at once, or one after another."""
    settings = EngineSettings(model=model, safety="none")
    with ThreadPoolExecutor(1) as loading:  # as the gpu worker does
        engine = loading.submit(Engine.load, settings).result()
    generate = BatchingEngine(engine).generate if together else engine.generate

    def make(wanted: Sequence[ImageRequest]) -> list[float]:
        begun = time.perf_counter()

        def call(request: ImageRequest) -> float:
            generate(request)
            return time.perf_counter() - begun

        if not together:
            return [call(request) for request in wanted]
        with ThreadPoolExecutor(len(wanted)) as callers:
            return list(callers.map(call, wanted))

    return make


class Maker:
    """Somebody who makes images, in a process of its own."""

    def __init__(self, build: Callable[..., Make], *arguments: Any) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.process = ProcessPoolExecutor(1, spawn, initializer=begin, initargs=(build, *arguments))

    def make(self, callers: int, mixed: bool, pixels: int, seed: int) -> list[float]:
        """Return how long each of so many callers waited, in seconds."""
        return self.process.submit(make_in_process, callers, mixed, pixels, seed).result()


make_here: Make  # in the process of a Maker


def begin(build: Callable[..., Make], *arguments: Any) -> None:
    global make_here
    make_here = build(*arguments)


def make_in_process(callers: int, mixed: bool, pixels: int, seed: int) -> list[float]:
    return make_here(requests(callers, mixed, pixels, seed))


def compare(makers: dict[str, Maker], callers: int, mixed: bool, pixels: int, rounds: int) -> Table:
    """Let everybody make the same images, round after round, and return what came of it."""
    images: dict[str, list[float]] = {name: [] for name in makers}
    waited: dict[str, list[float]] = {name: [] for name in makers}
    for number in range(rounds):
        for name, maker in makers.items():
            each = maker.make(callers, mixed, pixels, seed=number)
            images[name].append(callers / max(each))
            waited[name] += each
        say(f"{callers} callers, {'mixed' if mixed else 'alike'}: round {number + 1} of {rounds}")
    base = next(iter(makers))
    kind = "mixed strength 0.2-1.0 and 10-50 steps" if mixed else "strength 0.7 of 30 steps"
    title = f"{callers} callers at once, {pixels} x {pixels}, {kind}; medians of {rounds} rounds"
    table = Table(title, ("who", "images a second", "of the first", "median wait, s", "p95 wait, s"))
    for name in makers:
        ratio = statistics.median(mine / its for mine, its in zip(images[name], images[base], strict=True))
        rate = statistics.median(images[name])
        table.rows.append((name, rate, round(ratio, 2), statistics.median(waited[name]), quantile(waited[name], 0.95)))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="the built-in one unless told")
    parser.add_argument("--pixels", type=int, default=256)
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.model:
        measure(options.model, options.pixels, options.callers, options.rounds)
    else:
        with guided_throughout() as model:
            measure(str(model), options.pixels, options.callers, options.rounds)


def measure(model: str, pixels: int, callers_at_once: Sequence[int], rounds: int) -> None:
    """Measure and publish."""
    device = choose_device("auto")
    dtype = choose_dtype("auto", device)
    precision = str(dtype).removeprefix("torch.")
    batch = f"diffusers, {precision}, one batch"
    makers = {
        "diffusers, its defaults, one by one": Maker(of_diffusers, model, torch.float32, device),
        f"diffusers, {precision}, one by one": Maker(of_diffusers, model, dtype, device),
        batch: Maker(of_diffusers_in_batches, model, dtype, device),
        "our engine, one by one": Maker(of_engine, model, False),
        "our engine, all in one loop": Maker(of_engine, model, True),
    }
    for maker in makers.values():  # warm up
        for callers in callers_at_once:
            maker.make(callers, False, pixels, seed=99)
    tables = []
    for callers in callers_at_once:
        for mixed in (False, True):
            able = {name: maker for name, maker in makers.items() if not (mixed and name == batch)}
            tables.append(compare(able, callers, mixed, pixels, rounds))
    for maker in makers.values():
        maker.process.shutdown()
    publish("engine", tables, model=Path(model).name, device=str(device), precision=precision)


if __name__ == "__main__":
    main()
