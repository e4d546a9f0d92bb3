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

from generation.engine import memory
from generation.engine.computing import WAYS, Way
from generation.engine.errors import UnsupportedModel
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
    notes = read(file)
    if choice := notes.get(name):
        for way in choice.ways:
            WAYS[way].take_up(engine.network)
    else:
        choice = measured(engine, batch_images)
        write(file, notes | {name: choice})
        logger.info("Measured %s: %s", name, choice)
    engine.tuning, engine.measured = choice.ways, str(choice)


def read(file: Path) -> dict[str, Choice]:
    """Return what is noted; nothing where that can't be read, or was noted by another version."""
    try:
        choices = {name: Choice(**noted) for name, noted in json.loads(file.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
    return {name: choice for name, choice in choices.items() if set(choice.ways) <= set(TRIED)}


def write(file: Path, notes: dict[str, Choice]) -> None:
    part = file.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps({name: asdict(choice) for name, choice in notes.items()}, indent=2) + "\n")
    part.replace(file)  # at once, for another worker of this machine


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
        if name == "fuse_qkv" and not hasattr(engine.network, "fuse_qkv_projections"):
            continue
        pair = None
        try:
            pair = compared(engine.network, WAYS[name], seconds)
        except UnsupportedModel:
            continue
        except RuntimeError as error:
            if not memory.is_out_of_memory(error):
                raise
            logger.warning("There is no memory to measure %s, so it is left out: %s", name, error)
        engine.release_cache()  # only now is the traceback gone, and with it the tensors of a failed attempt
        if pair is None:
            continue
        without, with_it = pair
        milliseconds[name] = [1000 * without, 1000 * with_it]
        if with_it < PAYS * without:
            WAYS[name].take_up(engine.network)
            kept.append(name)
    return Choice(kept, images, milliseconds)


def compared(network: torch.nn.Module, way: Way, seconds: Callable[[], float]) -> tuple[float, float]:
    """Return the seconds of a step without and with a way, which is given up again."""
    without = with_it = float("inf")
    for _ in range(ROUNDS):
        without = min(without, seconds())
        try:
            way.take_up(network)
            with_it = min(with_it, seconds())
        finally:
            way.give_up(network)
    return without, with_it


def step_of(engine: Engine | PipelineEngine, batch_images: int) -> tuple[int, Callable[[], float]]:
    """Return how many images are measured together, and a function that measures a step of theirs, in seconds."""
    pixels = engine.native_pixels
    if isinstance(engine, PipelineEngine):
        return 1, lambda: whole_step_seconds(engine, pixels)
    images = max(1, min(batch_images, int(SECONDS / step_seconds(engine, 1, pixels))))
    return images, lambda: step_seconds(engine, images, pixels)
