"""The engine beside plain diffusers, img2img with one model, in one run: python -m benchmarks.engine.

Everybody makes the same requests, in turns, and a round's ratios are those of one minute on one machine.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from diffusers import StableDiffusionImg2ImgPipeline
from PIL import Image

from benchmarks.calls import calls
from benchmarks.report import Table, publish, quantile, say
from config.settings import BASE_DIR
from generation.engine import BatchingEngine, Engine, EngineSettings, ImageRequest

STARTER = BASE_DIR / "generation" / "starter"

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


def of_engine(generate: Callable[[ImageRequest], object], at_once: int) -> Make:
    """Return callers of the engine, so many at a time."""

    def make(wanted: Sequence[ImageRequest]) -> list[float]:
        begun = time.perf_counter()

        def call(request: ImageRequest) -> float:
            generate(request)
            return time.perf_counter() - begun

        with ThreadPoolExecutor(at_once) as callers:
            return list(callers.map(call, wanted))

    return make


def compare(makers: dict[str, Make], callers: int, mixed: bool, pixels: int, rounds: int) -> Table:
    """Let everybody make the same images, round after round, and return what came of it."""
    images: dict[str, list[float]] = {name: [] for name in makers}
    waited: dict[str, list[float]] = {name: [] for name in makers}
    for number in range(rounds):
        for name, make in makers.items():
            each = make(requests(callers, mixed, pixels, seed=number))
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
    parser.add_argument("--model", default=str(STARTER))
    parser.add_argument("--pixels", type=int, default=256)
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    engine = Engine.load(EngineSettings(model=options.model, safety="none"))
    batching = BatchingEngine(engine)
    model, device, dtype = options.model, engine.device, engine.dtype
    sequential = {
        "diffusers, its defaults, one by one": of_diffusers(model, torch.float32, device),
        f"diffusers, {str(dtype).removeprefix('torch.')}, one by one": of_diffusers(model, dtype, device),
    }
    uniform = {
        f"diffusers, {str(dtype).removeprefix('torch.')}, one batch": of_diffusers_in_batches(model, dtype, device)
    }
    tables = []
    for callers in options.callers:
        ours = {
            "our engine, one by one": of_engine(engine.generate, 1),
            "our engine, all in one loop": of_engine(batching.generate, callers),
        }
        for mixed in (False, True):
            makers = sequential | ({} if mixed else uniform) | ours
            for make in makers.values():  # warm up
                make(requests(1, False, options.pixels, seed=99)[:1])
            tables.append(compare(makers, callers, mixed, options.pixels, options.rounds))
    batching.close()
    publish("engine", tables, engine=engine.description())


if __name__ == "__main__":
    main()
