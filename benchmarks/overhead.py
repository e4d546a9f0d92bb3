"""What the platform adds to the computing, on an idle site and on a busy one: python -m benchmarks.overhead.

Starts a web process and a gpu worker as `make run` does, and sends one request after another. Of each it takes the time
from the first byte sent to the last byte read, and from the database when the worker took it, had computed it and had
ended it. What is left without the computing is the overhead. The safety checker, which is computing too, is off.

Then the same while other callers keep the worker busy with requests of their own (--loaded). The computing is longer
then, as steps are shared: it counts from the moment when the worker took the request until its image was there,
whoever else was in the loop. The overhead is what all those processes leave to each other of the machine.
"""

import argparse
import asyncio
import base64
from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter
from typing import Any

from benchmarks.calls import PATIENCE_SECONDS, session
from benchmarks.load import SAMPLE
from benchmarks.report import Table, publish, quantile, say
from benchmarks.site import customer, database, making, serving

WARM_UP = 3  # requests that are not counted
COLUMNS = ("milliseconds", "p50", "p95", "slowest")


@dataclass(frozen=True)
class Course:
    """Where the time of one request went, in milliseconds."""

    whole: float  # over HTTP
    queued: float  # from the row's birth until a worker took it
    computed: float
    finished: float  # encoded and stored

    @property
    def overhead(self) -> float:
        return self.whole - self.computed

    @property
    def http(self) -> float:
        """What is left: reading and judging the request, charging it, and telling and sending the answer."""
        return self.overhead - self.queued - self.finished


def course_of(pk: int, seconds: float) -> Course:
    from generation.models import Generation

    made = Generation.objects.get(pk=pk)
    instants = [made.created_at, made.started_at, made.computed_at, made.finished_at]
    phases = [1000 * (end - begin).total_seconds() for begin, end in pairwise(instants)]
    return Course(1000 * seconds, *phases)


async def ask(url: str, path: str, body: dict[str, Any], times: int, others: int = 0) -> list[tuple[int, float]]:
    """Send the request one time after another, beside so many other callers; return ids and seconds."""
    answered, over = [], asyncio.Event()
    async with session() as sender:

        async def send(seed: int) -> Any:
            async with sender.post(f"{url}/api/v3/{path}", json=body | {"seed": seed}) as response:
                answer = await response.json()
            assert answer["status"] == "success", answer
            return answer["id"]

        async def other(seed: int) -> None:
            while not over.is_set():
                await send(seed)

        crowd = [asyncio.ensure_future(other(times + k)) for k in range(others)]
        try:
            for seed in range(times):
                begun = perf_counter()
                pk = await send(seed)
                answered.append((pk, perf_counter() - begun))
        finally:
            over.set()
            await asyncio.gather(*crowd)
    return answered[WARM_UP:]


def table(title: str, courses: list[Course]) -> Table:
    names = {
        "from HTTP in to HTTP out": "whole",
        "computing": "computed",
        "overhead": "overhead",
        "of it: until a worker took it": "queued",
        "of it: encoding, storing": "finished",
        "of it: reading, judging, charging, answering": "http",
    }
    rows = []
    for words, name in names.items():
        values = [getattr(course, name) for course in courses]
        rows.append((words, quantile(values, 0.5), quantile(values, 0.95), max(values)))
    return Table(title, COLUMNS, rows)


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=__doc__)
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--loaded", type=int, default=8, help="other callers meanwhile; 0: only the idle site")
    parser.add_argument("--size", type=int, default=256, help="of the images, in pixels")
    parser.add_argument("--steps", type=int, default=20)
    asked = parser.parse_args()
    with database(), serving(SYNC_WAIT_SECONDS=str(PATIENCE_SECONDS)) as web:
        key = customer()[1]
        text = {
            "key": key,
            "prompt": "a cat sitting on a bench",
            "width": asked.size,
            "height": asked.size,
            "num_inference_steps": asked.steps,
            "safety_checker": "no",
        }
        image = text | {"init_image": base64.b64encode(SAMPLE.read_bytes()).decode(), "strength": 0.7}
        tables = []
        with making(web):
            for others in sorted({0, asked.loaded}):
                for path, body in {"text2img": text, "img2img": image}.items():
                    answered = asyncio.run(ask(web.url, path, body, asked.requests + WARM_UP, others))
                    courses = [course_of(pk, seconds) for pk, seconds in answered]
                    state = f"while {others} others keep the worker busy" if others else "idle"
                    tables.append(table(f"{path}, {asked.size} × {asked.size}, {asked.steps} steps, {state}", courses))
                    say(tables[-1].title)
        publish("overhead", tables, requests=asked.requests)


if __name__ == "__main__":
    main()
