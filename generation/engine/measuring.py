"""How fast an engine is on this machine, by the images that share a step."""

import statistics
import time
from dataclasses import replace
from itertools import pairwise

from generation.engine.pipeline import Engine
from generation.engine.whole import PipelineEngine

STEPS = 3  # timed, after one that is not


def step_seconds(engine: Engine, images: int, pixels: int) -> float:
    """Return the seconds that a step of so many images of pixels x pixels takes, with guidance; the median of three."""
    request = engine.trial(pixels, num_inference_steps=STEPS + 1)
    samples = [sample for k in range(images) for sample in engine.prepare(replace(request, seed=k))]
    times = []
    for _ in range(STEPS + 1):
        begun = time.perf_counter()
        engine.step(samples)
        engine.synchronize()
        times.append(time.perf_counter() - begun)
    return statistics.median(times[1:])


def whole_step_seconds(engine: PipelineEngine, pixels: int) -> float:
    """Return the seconds that a step of one image of pixels x pixels takes, with guidance; the median of three."""
    instants: list[float] = []

    def note(step: int, steps: int) -> None:
        engine.synchronize()
        instants.append(time.perf_counter())

    engine.generate(engine.trial(pixels, num_inference_steps=STEPS + 1), note)
    return statistics.median(end - begun for begun, end in pairwise(instants[1:]))
