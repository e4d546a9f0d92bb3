"""The memory of a gpu worker over very many images, beside plain diffusers: python -m benchmarks.memory.

Both make the same small mixed images, each in a process of its own: the worker of a running site for several callers
at once, as it does, and the pipeline (pipeline.py) one after another. At each mark nothing runs, and only these two
processes are looked at: RSS is all of a process's memory in RAM, USS the part of it that it shares with no other.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import psutil

from benchmarks.calls import PATIENCE_SECONDS, Site, calls, send_all, session
from benchmarks.report import Table, publish, say
from benchmarks.site import customer, database, making, serving, stop

WARM_UP = 20  # images
MARKS = 5
QUIET = {"TRANSFORMERS_VERBOSITY": "error", "DIFFUSERS_VERBOSITY": "error", "TQDM_DISABLE": "1"}
COLUMNS = (
    "images made",
    "gpu worker, MiB of RSS",
    "diffusers, MiB of RSS",
    "times diffusers",
    "gpu worker, MiB of USS",
    "diffusers, MiB of USS",
)


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

    def make(self, bodies: list[dict[str, Any]]) -> None:
        for body in bodies:
            self.process.stdin.write(json.dumps(body) + "\n")
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
        process.stdout.readline()  # it is ready
        yield Raw(process)
    finally:
        stop([process])


def marks(images: int) -> list[int]:
    """Return after how many images to look: after the warm-up, and then at equal distances."""
    equal = [images * k // MARKS for k in range(1, MARKS + 1)]
    return sorted({min(WARM_UP, equal[0]), *equal})


async def make_on_site(site: Site, bodies: list[dict[str, Any]], callers: int) -> None:
    async with session() as sender:
        await send_all(bodies, callers, partial(site.image, sender))


def measure(
    site: Site, worker: psutil.Process, plain: Raw, bodies: list[dict[str, Any]], callers: int
) -> list[tuple[int, Used, Used]]:
    """Let both make all images, and return what each used at each mark."""
    seen = []
    for begin, end in pairwise([0, *marks(len(bodies))]):
        asyncio.run(make_on_site(site, bodies[begin:end], callers))
        plain.make(bodies[begin:end])
        seen.append((end, Used.by(worker), Used.by(plain.process)))
        say(f"{end} of {len(bodies)} images: worker {seen[-1][1].rss:.0f} MiB, diffusers {seen[-1][2].rss:.0f} MiB")
    return seen


def tables(title: str, seen: list[tuple[int, Used, Used]]) -> list[Table]:
    """Return the memory at each mark, and its growth after the first of the equal distances."""
    rows = [(count, mine.rss, its.rss, mine.rss / its.rss, mine.uss, its.uss) for count, mine, its in seen]
    first, last = seen[-MARKS:][0], seen[-1]
    growth = [
        (name, 100 * (last[k].rss / first[k].rss - 1), 100 * (last[k].uss / first[k].uss - 1))
        for k, name in ((1, "gpu worker"), (2, "diffusers"))
    ]
    grown = f"Growth from image {first[0]:,} to image {last[0]:,}"
    return [Table(title, COLUMNS, rows), Table(grown, ("process", "RSS, %", "USS, %"), growth)]


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
    with database(), serving(SYNC_WAIT_SECONDS=str(PATIENCE_SECONDS)) as web, making(web) as workers, raw() as plain:
        seen = measure(Site(web.url, customer()[1]), workers[0], plain, bodies, asked.callers)
    publish("memory", tables(f"Memory over {asked.images:,} images, {asked.callers} callers of the site", seen))


if __name__ == "__main__":
    main()
