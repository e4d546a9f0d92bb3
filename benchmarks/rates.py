"""How many submissions and fetches a second one web process answers: python -m benchmarks.rates.

Beside empty DRF views that only know their caller, one as the API does and one by reading the key with each request, on
the same server (benchmarks/empty_view.py): they take turns, so that whatever else the machine does meets all of them.
Submissions are not waited for, nothing is computed, and the rows and jobs of each turn are gone before the next.
"""

import argparse
import asyncio
import statistics
import sys
import time
from typing import Any

import aiohttp

from benchmarks.report import Table, publish, quantile, say
from benchmarks.site import EMPTY_ADDRESS, EMPTY_READING_ADDRESS, customer, database, serving

EMPTY, READING, FETCH = "empty view", "empty view that reads the key", "fetch of a success"
SUBMIT, SUBMIT_APART = "text2img, all callers of one account", "text2img, each caller of another"
KINDS = (EMPTY, READING, FETCH, SUBMIT, SUBMIT_APART)


async def send(url: str, body: dict[str, Any], keys: list[str], requests: int) -> list[float]:
    """Send so many requests, one caller for each key, over a connection of its own; return seconds of each."""
    left = iter(range(requests))
    took: list[float] = []
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, trust_env=False) as session:

        async def caller(key: str) -> None:
            for _ in left:
                begun = time.perf_counter()
                async with session.post(url, json=body | {"key": key}, headers={"key": key}) as response:
                    answer = await response.json()
                assert response.status == 200, answer
                assert answer.get("status") in (None, "success", "processing"), answer
                took.append(time.perf_counter() - begun)

        await asyncio.gather(*map(caller, keys))
    return took


def one_success(account: Any) -> int:
    """Make a generation that can be fetched, without any image, and return its id."""
    from generation import services
    from generation.params import Inputs, Params

    pk = services.submit(account, Params("text2img", "a cat", 1), Inputs()).pk
    claimed = services.claim(pk)
    assert claimed
    services.succeed(claimed, [False], 0.1, 0.1, "benchmark", "", "")
    return pk


def clear(kept: int) -> None:
    """Forget what was submitted, but the one that is fetched, with its jobs in Redis."""
    from generation import queue
    from generation.models import Generation

    Generation.objects.exclude(pk=kept).delete()
    queue.redis().flushdb()


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rates", description=__doc__)
    parser.add_argument("--requests", type=int, default=500, help="of each kind in each turn")
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--turns", type=int, default=5)
    asked = parser.parse_args()
    rates: dict[str, list[float]] = {name: [] for name in KINDS}
    times: dict[str, list[float]] = {name: [] for name in KINDS}
    command = f"{sys.executable} -m benchmarks.empty_site"
    with database():
        with serving(command, SYNC_WAIT_SECONDS="0", FETCH_WAIT_SECONDS="0") as web:
            account, key = customer()
            pk, one_key = one_success(account), [key] * asked.callers
            other_keys = [customer(f"benchmark-{k}")[1] for k in range(asked.callers)]
            text = {"prompt": "a cat", "width": 256, "height": 256, "num_inference_steps": 20}
            calls = {
                EMPTY: (EMPTY_ADDRESS, {}, one_key),
                READING: (EMPTY_READING_ADDRESS, {}, one_key),
                FETCH: (f"api/v3/fetch/{pk}", {}, one_key),
                SUBMIT: ("api/v3/text2img", text, one_key),
                SUBMIT_APART: ("api/v3/text2img", text, other_keys),
            }
            for turn in range(asked.turns + 1):
                for name, (path, body, keys) in calls.items():
                    begun = time.perf_counter()
                    took = asyncio.run(send(f"{web.url}/{path}", body, keys, asked.requests))
                    if turn:  # the first one only warms up
                        rates[name].append(asked.requests / (time.perf_counter() - begun))
                        times[name] += took
                    clear(pk)
                say(f"turn {turn} of {asked.turns}")
    rows = []
    for name, measured in rates.items():
        ratios = [
            statistics.median(rate / empty for rate, empty in zip(measured, rates[beside], strict=True))
            for beside in (EMPTY, READING)
        ]
        milliseconds = [1000 * seconds for seconds in times[name]]
        rows.append(
            (
                name,
                statistics.median(measured),
                *ratios,
                quantile(milliseconds, 0.5),
                quantile(milliseconds, 0.95),
            )
        )
    columns = ("request", "a second", "of the empty view", "of the one that reads the key", "p50, ms", "p95, ms")
    title = f"{asked.callers} callers, one web process, median of {asked.turns} turns"
    publish("rates", [Table(title, columns, rows)], requests=asked.requests)


if __name__ == "__main__":
    main()
