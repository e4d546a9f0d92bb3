"""How long a short job takes that arrives behind long ones: python -m benchmarks.tails.

Starts a web process and a gpu worker as `make run` does. In each round the short job is sent alone, and then again
once all of the long ones are running and have done a step. Both times are those of its caller, from HTTP in to HTTP
out.
"""

import argparse
import asyncio
import statistics
import time
from dataclasses import dataclass
from typing import Any

import aiohttp

from benchmarks.calls import PATIENCE_SECONDS, Site, session
from benchmarks.report import Table, publish, say
from benchmarks.site import customer, database, in_thread, making, serving

COLUMNS = ("round", "alone, ms", "behind, ms", "times alone", "long ones still running", "a long one, ms")


@dataclass(frozen=True)
class Round:
    """What the callers of one round saw, in seconds."""

    alone: float
    behind: float
    still_running: int  # of the long ones, when the short one was answered
    long: float  # median of the long ones

    @property
    def ratio(self) -> float:
        return self.behind / self.alone


def text(steps: int, pixels: int, seed: int) -> dict[str, Any]:
    size = {"width": pixels, "height": pixels}
    return size | {"prompt": "a cat sitting on a bench", "num_inference_steps": steps, "seed": seed}


async def timed(site: Site, sender: aiohttp.ClientSession, body: dict[str, Any]) -> float:
    begun = time.perf_counter()
    await site.image(sender, body)
    return time.perf_counter() - begun


def stepping() -> int:
    """Return how many generations are being made and have done a step."""
    from generation.models import Generation, Status

    return Generation.objects.filter(status=Status.PROCESSING, step__gt=0).count()


async def play(site: Site, long_jobs: int, long_steps: int, short_steps: int, pixels: int, seed: int) -> Round:
    """Send the short job alone, and behind the long ones."""
    short = text(short_steps, pixels, seed)
    async with session() as sender:
        alone = await timed(site, sender, short)
        before = [
            asyncio.ensure_future(timed(site, sender, text(long_steps, pixels, seed + k))) for k in range(long_jobs)
        ]
        end = time.monotonic() + PATIENCE_SECONDS
        while await asyncio.to_thread(in_thread, stepping) < long_jobs:
            if any(each.done() for each in before) or time.monotonic() > end:
                raise SystemExit("The long jobs never ran all at once: ask for more steps, or fewer jobs (--long).")
            await asyncio.sleep(0.01)
        behind = await timed(site, sender, short)
        still_running = sum(not each.done() for each in before)
        return Round(alone, behind, still_running, statistics.median(await asyncio.gather(*before)))


def table(title: str, rounds: list[Round]) -> Table:
    rows: list[tuple[Any, ...]] = [
        (number, 1000 * each.alone, 1000 * each.behind, each.ratio, each.still_running, 1000 * each.long)
        for number, each in enumerate(rounds, start=1)
    ]
    rows.append(("median", *(statistics.median(values) for values in list(zip(*rows, strict=True))[1:])))
    return Table(title, COLUMNS, rows)


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tails", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--long", type=int, default=8, help="jobs that run before the short one comes")
    parser.add_argument("--long-steps", type=int, default=50)
    parser.add_argument("--short-steps", type=int, default=4)
    parser.add_argument("--size", type=int, default=256, help="of the images, in pixels")
    asked = parser.parse_args()
    rounds = []
    with database(), serving(SYNC_WAIT_SECONDS=str(PATIENCE_SECONDS)) as web, making(web):
        site = Site(web.url, customer()[1])
        for number in range(asked.rounds + 1):
            seen = asyncio.run(
                play(site, asked.long, asked.long_steps, asked.short_steps, asked.size, seed=100 * number)
            )
            if number:  # the first round only warms up
                rounds.append(seen)
                say(f"round {number} of {asked.rounds}: {seen.ratio:.2f} times alone")
        title = (
            f"A job of {asked.short_steps} steps behind {asked.long} of {asked.long_steps}, {asked.size} × {asked.size}"
        )
        publish("tails", [table(title, rounds)])


if __name__ == "__main__":
    main()
