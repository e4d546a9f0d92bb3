"""What it costs when very many callers wait for their images: python -m benchmarks.waiting.

A thousand callers submit to one web process and wait, each for a generation of its own. When all of them wait, the
process is looked at; then the generations are ended one after another, as workers would end them, and every caller must
be answered. Nothing is computed: it is the waiting that is measured.
"""

import argparse
import asyncio
import time
from typing import Any

import aiohttp

from benchmarks.report import Table, publish, quantile
from benchmarks.site import customer, database, in_thread, serving

AT_ONCE = 64  # callers that are submitting; the others wait already, or have yet to come
PATIENCE_SECONDS = 600


async def call(session: aiohttp.ClientSession, url: str, key: str, coming: asyncio.Semaphore) -> tuple[Any, float]:
    """Submit and wait; return the answer and when it came."""
    body = {"key": key, "prompt": "a cat", "width": 64, "height": 64, "num_inference_steps": 1}
    async with coming:  # until the request is on its way; the answer comes later
        sending = asyncio.ensure_future(session.post(f"{url}/api/v3/text2img", json=body))
        await asyncio.sleep(0.2)
    async with await sending as response:
        answer = await response.json()
    return answer, time.time()


async def wait_and_end(web: Any, key: str, callers: int, seen: dict[str, float]) -> list[Any]:
    """Let all callers wait, note what the process uses, end their generations, and return what each got."""
    timeout = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=timeout, trust_env=False
    ) as session:
        coming = asyncio.Semaphore(AT_ONCE)
        calls = [asyncio.ensure_future(call(session, web.url, key, coming)) for _ in range(callers)]
        begun = time.monotonic()
        while await asyncio.to_thread(in_thread, queued) < callers and time.monotonic() < begun + PATIENCE_SECONDS / 2:
            await asyncio.sleep(0.2)
        await asyncio.sleep(2)  # the last submissions become waits
        seen["submitting_seconds"] = time.monotonic() - begun - 2
        seen["sockets"] = sum(
            each.status == "ESTABLISHED" and each.laddr.port == web.port for each in web.process.net_connections("tcp")
        )
        seen["rss_mib"] = web.process.memory_info().rss / 2**20
        seen["threads"] = web.process.num_threads()
        seen["answered_early"] = sum(each.done() for each in calls)
        await asyncio.to_thread(in_thread, end_all)
        return await asyncio.gather(*calls, return_exceptions=True)


def queued() -> int:
    from generation.models import Generation

    return Generation.objects.count()


def end_all() -> int:
    """End every generation as a worker does that made it; return how many there were."""
    from generation import services
    from generation.models import Generation

    pks = list(Generation.objects.order_by("pk").values_list("pk", flat=True))
    for pk in pks:
        claimed = services.claim(pk)
        assert claimed
        services.succeed(claimed, [False], 0.1, 0.1, "benchmark", "", "")
    return len(pks)


def delays(answers: list[Any]) -> list[float]:
    """Return for each caller that got its image how long after its end the answer was there, in seconds."""
    from generation.models import Generation

    ended = {row.pk: row.finished_at.timestamp() for row in Generation.objects.all()}
    good = [each for each in answers if not isinstance(each, BaseException) and each[0]["status"] == "success"]
    return [at - ended[answer["id"]] for answer, at in good]


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.waiting", description=__doc__)
    parser.add_argument("--callers", type=int, default=1000)
    asked = parser.parse_args()
    seen: dict[str, float] = {}
    with database(), serving(SYNC_WAIT_SECONDS=str(PATIENCE_SECONDS)) as web:
        web.request("GET", "/healthz")
        idle_mib = web.process.memory_info().rss / 2**20
        answers = asyncio.run(wait_and_end(web, customer()[1], asked.callers, seen))
        told = delays(answers)
        rows = [
            ("callers", asked.callers),
            ("waiting at once (sockets)", int(seen["sockets"])),
            ("answered before their generation ended", int(seen["answered_early"])),
            ("got their image", len(told)),
            ("dropped", asked.callers - len(told)),
            ("memory before, MiB", idle_mib),
            ("memory while all wait, MiB", seen["rss_mib"]),
            ("threads while all wait", int(seen["threads"])),
            ("seconds until all waited", seen["submitting_seconds"]),
        ]
        if told:
            rows += [
                (f"{words}, ms after the end", 1000 * value)
                for words, value in {
                    "median answer": quantile(told, 0.5),
                    "95 of 100 answers": quantile(told, 0.95),
                    "last answer": max(told),
                }.items()
            ]
        publish("waiting", [Table("Callers that wait on one web process", ("what", "figure"), rows)])


if __name__ == "__main__":
    main()
