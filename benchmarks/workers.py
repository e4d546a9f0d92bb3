"""How many images a second one, two and more gpu workers make on one queue: python -m benchmarks.workers 1 2.

Each worker has a GPU of its own where there are enough, and else its share of the cores. In each round the numbers take
turns, with the same callers and the same mixed requests, and the ratio is of one round.
"""

import argparse
import asyncio
import statistics
import time
from functools import partial
from typing import Any

from benchmarks.calls import PATIENCE_SECONDS, Site, calls, send_all, session
from benchmarks.report import Table, accelerators, cores, publish, quantile, say
from benchmarks.site import customer, database, making, serving

CALLERS_PER_WORKER = 16  # BATCH_IMAGES: each can be full


def apart(workers: int) -> list[dict[str, str]]:
    """Return an environment for each worker, so that they keep out of each other's way."""
    if gpus := len(accelerators()):
        return [{"DEVICE": f"cuda:{k % gpus}"} for k in range(workers)]
    return [{"OMP_NUM_THREADS": str(max(1, cores() // workers))}] * workers


async def turn(site: Site, bodies: list[dict[str, Any]], callers: int) -> tuple[float, list[float]]:
    """Let the callers ask for all images; return images a second, and the seconds of each."""
    async with session() as sender:
        begun = time.perf_counter()
        took = await send_all(bodies, callers, partial(site.image, sender))
        return len(bodies) / (time.perf_counter() - begun), took


def table(title: str, rates: dict[int, list[float]], waited: dict[int, list[float]]) -> Table:
    rows: list[tuple[Any, ...]] = []
    base = next(iter(rates.values()))
    for workers, measured in rates.items():
        ratio = statistics.median(mine / its for mine, its in zip(measured, base, strict=True))
        waits = [statistics.median(waited[workers]), quantile(waited[workers], 0.95)]
        rows.append((workers, statistics.median(measured), ratio, *waits))
    return Table(title, ("workers", "images a second", "times the first", "median wait, s", "p95 wait, s"), rows)


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description=__doc__)
    parser.add_argument("workers", type=int, nargs="*", default=[1, 2], help="how many; the first is the base")
    parser.add_argument("--images", type=int, default=96, help="in each turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=256, help="of the images, in pixels")
    asked = parser.parse_args()
    callers = CALLERS_PER_WORKER * max(asked.workers)
    rates: dict[int, list[float]] = {count: [] for count in asked.workers}
    waited: dict[int, list[float]] = {count: [] for count in asked.workers}
    with database(), serving(SYNC_WAIT_SECONDS=str(PATIENCE_SECONDS)) as web:
        site = Site(web.url, customer()[1])
        for number in range(1, asked.rounds + 1):
            bodies = [call.body() for call in calls(asked.images, number, mixed=True, sizes=[asked.size])]
            for count in asked.workers:
                with making(web, *apart(count)):
                    asyncio.run(turn(site, bodies[:callers], callers))  # warms up
                    rate, took = asyncio.run(turn(site, bodies, callers))
                rates[count].append(rate)
                waited[count] += took
                say(f"round {number} of {asked.rounds}, workers: {count}, images a second: {rate:.2f}")
    title = f"{callers} callers, {asked.size} × {asked.size}, mixed requests; medians of {asked.rounds} rounds"
    publish("workers", [table(title, rates, waited)], images=asked.images, environments=apart(max(asked.workers)))


if __name__ == "__main__":
    main()
