"""The memory of a gpu worker over very many images, beside plain diffusers: python -m benchmarks.memory.

All make the same small mixed images, each in a process of its own: the worker of a running site for several callers at
once, as it does; one without a safety checker, which plain diffusers have none of; one that makes one image at a time
besides; the pipeline (pipeline.py); and the pipeline making as many at once as the worker does, which it can only of
images that are alike: each batch is of the size, strength and steps of its first. At each mark nothing runs: RSS is all
of a process's memory in RAM, USS the part of it that it shares with no other.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import psutil

from benchmarks.calls import PATIENCE_SECONDS, Site, calls, send_all, session
from benchmarks.model import ALIKE
from benchmarks.report import Table, publish, say
from benchmarks.site import customer, database, making, serving, stop

WARM_UP = 20  # images
MARKS = 5
QUIET = {"TRANSFORMERS_VERBOSITY": "error", "DIFFUSERS_VERBOSITY": "error", "TQDM_DISABLE": "1"}
WORKERS = {  # and their environment
    "gpu worker": {},
    "unchecked": {"SAFETY_CHECKER": "none"},
    "unchecked, one by one": {"BATCH_IMAGES": "1", "SAFETY_CHECKER": "none"},
}
DIFFUSERS, TOGETHER = "diffusers", "diffusers in batches"
FIRST = 200  # images, from where on the growth counts


@dataclass(frozen=True)
class Used:
    """The memory of a process, in MiB."""

    rss: float
    uss: float

    @classmethod
    def by(cls, process: psutil.Process) -> "Used":
        seen = process.memory_full_info()
        return cls(seen.rss / 2**20, seen.uss / 2**20)


class Raw:
    """Plain diffusers in a process of its own."""

    def __init__(self, process: psutil.Popen) -> None:
        self.process = process

    def make(self, together: int, bodies: list[dict[str, Any]]) -> None:
        """Let it make images, so many at once."""
        for begin in range(0, len(bodies), together):
            batch = bodies[begin : begin + together]
            alike = {name: batch[0][name] for name in ALIKE}
            self.process.stdin.write(json.dumps([body | alike for body in batch]) + "\n")
            self.process.stdin.flush()
            if not self.process.stdout.readline():
                raise SystemExit("The process of plain diffusers ended.")


@contextmanager
def raw(**environment: str) -> Iterator[Raw]:
    """Run plain diffusers until the block ends."""
    from django.conf import settings

    process = psutil.Popen(
        [sys.executable, "-m", "benchmarks.pipeline"],
        cwd=settings.BASE_DIR,
        env=os.environ | QUIET | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if not process.stdout.readline():  # else it is ready
            raise SystemExit("The process of plain diffusers did not start.")
        yield Raw(process)
    finally:
        stop([process])


def marks(images: int) -> list[int]:
    """Return after how many images to look: after the warm-up, and then at equal distances."""
    equal = [images * k // MARKS for k in range(1, MARKS + 1)]
    return sorted({min(WARM_UP, equal[0]), *equal})


async def make_on_site(site: Site, callers: int, bodies: list[dict[str, Any]]) -> None:
    async with session() as sender:
        await send_all(bodies, callers, partial(site.image, sender))


def measure(
    name: str, process: psutil.Process, make: Callable[[list[dict[str, Any]]], None], bodies: list[dict[str, Any]]
) -> list[Used]:
    """Let a process make all images, and return what it used at each mark."""
    seen = []
    for begin, end in pairwise([0, *marks(len(bodies))]):
        make(bodies[begin:end])
        seen.append(Used.by(process))
        say(f"{end} of {len(bodies)} images, {name}: {seen[-1].rss:.0f} MiB")
    return seen


def tables(title: str, counts: list[int], seen: dict[str, list[Used]]) -> list[Table]:
    """Return the memory at each mark, and its growth after the first of the equal distances."""
    rss = [(count, *(used[k].rss for used in seen.values())) for k, count in enumerate(counts)]
    first = next((k for k, count in enumerate(counts) if count >= FIRST), 0)
    alone, together = seen[DIFFUSERS][-1].rss, seen[TOGETHER][-1].rss
    last = [
        (
            name,
            used[-1].rss,
            used[-1].rss / alone,
            used[-1].rss / together,
            100 * (used[-1].rss / used[first].rss - 1),
            used[-1].uss,
        )
        for name, used in seen.items()
    ]
    grown = f"growth since image {counts[first]:,}, %"
    times = ("times diffusers", "times diffusers in batches")
    columns = ("process", "resident MiB (RSS)", *times, grown, "unshared MiB (USS)")
    return [
        Table(title, ("images made", *(f"{name}, MiB of RSS" for name in seen)), rss),
        Table(f"After {counts[-1]:,} images", columns, last),
    ]


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--callers", type=int, default=16, help="of the site, at once")
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 192, 256], help="of the images, in pixels")
    parser.add_argument("--steps", type=int, nargs=2, default=[5, 15], help="fewest, 5 or more, and most")
    asked = parser.parse_args()
    wanted = calls(asked.images, seed=1, mixed=True, sizes=asked.sizes, steps=tuple(asked.steps))
    bodies = [call.body() for call in wanted]
    seen = {}
    with database():
        with serving(SYNC_WAIT_SECONDS=str(PATIENCE_SECONDS)) as web:
            site = Site(web.url, customer()[1])
            for name, environment in WORKERS.items():
                with making(web, environment) as workers:
                    make = partial(run_on_site, site, asked.callers)
                    seen[name] = measure(name, workers[0], make, bodies)
        for name, together in {DIFFUSERS: 1, TOGETHER: asked.callers}.items():
            with raw() as plain:
                seen[name] = measure(name, plain.process, partial(plain.make, together), bodies)
    title = f"Memory over {asked.images:,} images, {asked.callers} callers of the site"
    publish("memory", tables(title, marks(asked.images), seen))


def run_on_site(site: Site, callers: int, bodies: list[dict[str, Any]]) -> None:
    asyncio.run(make_on_site(site, callers, bodies))


if __name__ == "__main__":
    main()
