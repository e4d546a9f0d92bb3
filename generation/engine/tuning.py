"""Finds out which ways of computing pay on this machine, and remembers it for the next start."""

import json
import logging
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import diffusers
import torch

from generation.engine.computing import WAYS
from generation.engine.loaded import LoadedModel
from generation.engine.measuring import step_seconds, whole_step_seconds
from generation.engine.pipeline import Engine
from generation.engine.whole import PipelineEngine

logger = logging.getLogger(__name__)

# Those that leave the image as it is, to within a level of a channel, and can be given up again. Compiling isn't tried:
# the first images of each size would wait for minutes.
TRIED = ("channels_last", "fuse_qkv")
PAYS = 0.95  # of the time without; less of a difference is within what runs differ by
ROUNDS = 2  # in turns, so that what else the machine does is the same for both
SECONDS = 0.25  # that the images of a measured step would take one after another, unless one takes longer


@dataclass(frozen=True)
class Choice:
    """What was found: the ways that pay, and what a step took without and with each."""

    ways: list[str]
    images: int  # that shared the step
    milliseconds: dict[str, list[float]]

    def __str__(self) -> str:
        steps = [
            f"{name} {with_it:.1f} instead of {without:.1f}" for name, (without, with_it) in self.milliseconds.items()
        ]
        return f"{', '.join(steps)} ms for {self.images} at once"


def choose(engine: Engine | PipelineEngine, file: Path, batch_images: int) -> None:
    """Let the engine compute as fast as it can here, by what `file` remembers of this model, machine and versions.

    Where it remembers nothing, each way is measured, which takes some dozen steps, and noted there.
    """
    name = circumstances(engine)
    noted = json.loads(file.read_text()) if file.exists() else {}
    if name in noted:
        choice = Choice(**noted[name])
        for way in choice.ways:
            WAYS[way].take_up(engine.network)
    else:
        choice = measured(engine, batch_images)
        part = file.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(noted | {name: asdict(choice)}, indent=2) + "\n")
        part.replace(file)  # at once, for another worker of this machine
        logger.info("Measured %s: %s", name, choice)
    engine.tuning, engine.measured = choice.ways, str(choice)


def circumstances(engine: LoadedModel) -> str:
    """Return what a choice depends on, in words."""
    device = torch.cuda.get_device_name(engine.device) if engine.device.type == "cuda" else platform.machine()
    return (
        f"{engine.model_name} ({engine.revision}), {device}, {torch.get_num_threads()} threads, {engine.dtype},"
        f" torch {torch.__version__}, diffusers {diffusers.__version__}"
    )


def measured(engine: Engine | PipelineEngine, batch_images: int) -> Choice:
    """Take up one way after the other and keep it where a step becomes faster."""
    images, seconds = step_of(engine, batch_images)
    kept, milliseconds = [], {}
    for name in TRIED:
        take_up, give_up = WAYS[name]
        if give_up is None or (name == "fuse_qkv" and not hasattr(engine.network, "fuse_qkv_projections")):
            continue
        without = with_it = float("inf")
        for _ in range(ROUNDS):
            without = min(without, seconds())
            take_up(engine.network)
            with_it = min(with_it, seconds())
            give_up(engine.network)
        milliseconds[name] = [1000 * without, 1000 * with_it]
        if with_it < PAYS * without:
            take_up(engine.network)
            kept.append(name)
    return Choice(kept, images, milliseconds)


def step_of(engine: Engine | PipelineEngine, batch_images: int) -> tuple[int, Callable[[], float]]:
    """Return how many images are measured together, and a function that measures a step of theirs, in seconds."""
    pixels = engine.native_pixels
    if isinstance(engine, PipelineEngine):
        return 1, lambda: whole_step_seconds(engine, pixels)
    images = max(1, min(batch_images, int(SECONDS / step_seconds(engine, 1, pixels))))
    return images, lambda: step_seconds(engine, images, pixels)
