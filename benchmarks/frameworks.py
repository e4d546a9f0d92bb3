"""The whole platform beside plain diffusers behind serving frameworks: python -m benchmarks.frameworks.

All serve the same model with the same precision, and are asked over HTTP by the same callers for the same images, until
the PNG files are in the callers' hands: the platform's are fetched from its storage. All servers are up all the time,
and asked in turns, so that the ratios of a round are those of one minute.

The frameworks (benchmarks/servers) live in an environment of their own, whose Python is named by --python. The platform
runs in this one, as it is installed.
"""

import argparse
import asyncio
import base64
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import ProxyHandler, build_opener

import aiohttp
import psutil
from PIL import Image

from benchmarks.calls import PATIENCE_SECONDS, Site, calls, send_all, session
from benchmarks.report import Table, installed, publish, quantile, say
from benchmarks.site import customer, database, making, serving, stop

ROOT = Path(__file__).parents[1]
ATELIER = "Atelier"
START_SECONDS = 180
SAME = ("torch", "diffusers", "transformers")  # must be of the same version on both sides
TOGETHER = 16
ASK = "import json, sys; from benchmarks.report import *; print(json.dumps({n: installed(n) for n in sys.argv[1:]}))"
COLUMNS = ("who", "images a second", "Atelier: times as many", "median wait, s", "p95 wait, s")
QUIET = {
    "BENTOML_DO_NOT_TRACK": "True",
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    "TQDM_DISABLE": "1",
}

Send = Callable[[aiohttp.ClientSession, str, dict[str, Any]], Awaitable[bytes]]
"""Sends a request to the server at an address, and returns the image's file."""


@dataclass(frozen=True)
class Framework:
    """One way to serve the pipeline."""

    name: str
    package: str
    command: tuple[str, ...]  # of Python
    ready: str  # path that answers 200 when images can be made
    send: Send
    at_once: int | None = None  # how many requests it accepts at a time, if it doesn't queue


@dataclass
class Contestant:
    """One of those who are measured."""

    name: str
    send: Callable[[aiohttp.ClientSession, dict[str, Any]], Awaitable[bytes]]
    at_once: int | None = None
    rates: list[float] = field(default_factory=list)  # images a second of each round
    waited: list[float] = field(default_factory=list)  # seconds of each call
    fault: str = ""  # why there are no figures


class Busy(Exception):
    """The server makes another image and does not queue."""


async def posted(sender: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> bytes:
    async with sender.post(url, json=body) as response:
        answer = await response.read()
        if response.status == 409:
            raise Busy
        if response.status != 200:
            raise RuntimeError(f"HTTP {response.status}: {answer[:200]!r}")
        return answer


async def to_litserve(sender: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> bytes:
    return base64.b64decode(json.loads(await posted(sender, f"{url}/predict", body))["image"])


async def to_bentoml(sender: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> bytes:
    return await posted(sender, f"{url}/image", {"request": body})


async def to_bentoml_together(sender: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> bytes:
    return base64.b64decode(json.loads(await posted(sender, f"{url}/images", {"requests": [body]}))[0])


async def to_cog(sender: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> bytes:
    asked = body | {"init_image": f"data:image/png;base64,{body['init_image']}"}
    try:
        answer = json.loads(await posted(sender, f"{url}/predictions", {"input": asked}))
    except Busy:  # for a moment after the answer before
        await asyncio.sleep(0.002)
        return await to_cog(sender, url, body)
    if answer["status"] != "succeeded":
        raise RuntimeError(f"cog: {answer['status']}: {answer.get('error')}")
    return base64.b64decode(answer["output"].partition(",")[2])


async def to_site(site: Site, sender: aiohttp.ClientSession, body: dict[str, Any]) -> bytes:
    answer = await site.image(sender, body)
    async with sender.get(answer["output"][0]) as response:
        response.raise_for_status()
        return await response.read()


LITSERVE = ("-m", "benchmarks.servers.with_litserve", "--port", "{port}")
BENTOML = (
    "-m",
    "bentoml",
    "serve",
    "benchmarks.servers.with_bentoml:Images",
    "--host",
    "127.0.0.1",
    "--port",
    "{port}",
)
COG = ("-m", "cog.server.http", "--host", "127.0.0.1")
FRAMEWORKS = [
    Framework("LitServe", "litserve", LITSERVE, "/health", to_litserve),
    Framework(
        f"LitServe, batches of {TOGETHER}",
        "litserve",
        (*LITSERVE, "--together", str(TOGETHER)),
        "/health",
        to_litserve,
    ),
    Framework("BentoML", "bentoml", BENTOML, "/readyz", to_bentoml),
    Framework(f"BentoML, batches of {TOGETHER}", "bentoml", BENTOML, "/readyz", to_bentoml_together),
    Framework("cog, its callers in a queue", "cog", COG, "/health-check", to_cog, at_once=1),
]


def versions(python: str) -> dict[str, str | None]:
    """Return what is installed where the frameworks live."""
    names = sorted({*SAME, *(framework.package for framework in FRAMEWORKS)})
    told = subprocess.run([python, "-c", ASK, *names], cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, str | None] = json.loads(told.stdout)
    return found


def refuse_others(found: dict[str, str | None]) -> None:
    """End when the frameworks would run another PyTorch or diffusers than the platform: that is another pipeline."""
    for name in SAME:
        if found[name] != installed(name):
            raise SystemExit(f"The frameworks have {name} {found[name]}, and the platform {installed(name)}.")


@contextmanager
def running(framework: Framework, python: str, folder: Path) -> Iterator[str]:
    """Run a server until the block ends, and yield its address once it is ready.

    Raises:
        RuntimeError: it doesn't start.
    """
    from tests.services import free_port

    port = str(free_port())
    log = folder / f"{framework.name}.log"
    command = [python, *(word.format(port=port) for word in framework.command)]
    own = {
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(python).absolute().parent}:{os.environ['PATH']}",  # cog starts "python" of it
        "PORT": port,
        "BENTOML_HOME": str(folder / "bentoml"),
        "COG_PREDICT_TYPE_STUB": f"{ROOT / 'benchmarks' / 'servers' / 'with_cog.py'}:Runner",
    }
    with log.open("wb") as output:
        process = psutil.Popen(command, cwd=ROOT, env=os.environ | QUIET | own, stdout=output, stderr=output)
    try:
        end = time.monotonic() + START_SECONDS
        while not is_ready(f"http://127.0.0.1:{port}{framework.ready}"):
            if process.poll() is not None or time.monotonic() > end:
                lines = log.read_text().strip().splitlines() or ["it said nothing"]
                raise RuntimeError(f"does not start: {lines[-1][:200]}")
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        stop([process], patience_seconds=20)


def is_ready(url: str) -> bool:
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=5) as response:
            said = response.read()
    except OSError:
        return False
    return b"STARTING" not in said  # cog answers before its model is there


def contestants(found: dict[str, str | None], python: str, stack: ExitStack) -> list[Contestant]:
    """Start the frameworks, and return each with the reason where there can be no figures of it."""
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="atelier-frameworks-")))
    urls: dict[tuple[str, ...], str] = {}  # two contestants may share a server
    made = []
    for framework in FRAMEWORKS:
        contestant = Contestant(framework.name, partial(unreachable), framework.at_once)
        made.append(contestant)
        if found[framework.package] is None:
            contestant.fault = "not installed"
            continue
        try:
            if framework.command not in urls:
                urls[framework.command] = stack.enter_context(running(framework, python, folder))
        except RuntimeError as error:
            contestant.fault = str(error)
            continue
        contestant.send = partial(sent, framework.send, urls[framework.command])
        say(f"{framework.name} is up")
    return made


async def sent(send: Send, url: str, sender: aiohttp.ClientSession, body: dict[str, Any]) -> bytes:
    return await send(sender, url, body)


async def unreachable(sender: aiohttp.ClientSession, body: dict[str, Any]) -> bytes:
    raise RuntimeError("It does not run.")


async def turn(contestant: Contestant, bodies: list[dict[str, Any]], callers: int) -> tuple[float, list[float]]:
    """Let the callers ask for all images; return images a second, and how long each caller waited for each."""
    gate = asyncio.Semaphore(contestant.at_once or callers)
    async with session() as sender:

        async def call(body: dict[str, Any]) -> None:
            async with gate:
                image = await contestant.send(sender, body)
            size = Image.open(BytesIO(image), formats=["PNG"]).size
            if size != (body["width"], body["height"]):
                raise RuntimeError(f"the image is of {size}")

        begun = time.perf_counter()
        took = await send_all(bodies, callers, call)
        return len(bodies) / (time.perf_counter() - begun), took


def play(everybody: list[Contestant], mixed: bool, images: int, callers: int, size: int, rounds: int) -> None:
    """Let all take turns; whoever fails is out, and the reason is noted."""
    for number in range(rounds + 1):
        bodies = [call.body() for call in calls(images if number else callers, number, mixed, [size])]
        for contestant in everybody:
            if contestant.fault:
                continue
            try:
                rate, took = asyncio.run(turn(contestant, bodies, callers))
            except (RuntimeError, ValueError, KeyError, OSError, aiohttp.ClientError, TimeoutError) as error:
                contestant.fault = f"failed: {type(error).__name__}: {error}"[:200]
                say(f"{contestant.name} {contestant.fault}")
                continue
            if number:  # the first round only warms up
                contestant.rates.append(rate)
                contestant.waited += took
                say(f"round {number} of {rounds}: {contestant.name}: {rate:.2f} images a second")


def table(title: str, everybody: list[Contestant]) -> Table:
    """Return the figures; the last row holds the platform's ratio to the best of the others, round by round."""
    ours, *others = everybody
    if ours.fault:
        raise SystemExit(f"The platform {ours.fault}")
    rows: list[tuple[Any, ...]] = []
    for contestant in everybody:
        if contestant.fault:
            rows.append((contestant.name, contestant.fault, "–", "–", "–"))
        else:
            waits = (statistics.median(contestant.waited), quantile(contestant.waited, 0.95))
            rows.append((contestant.name, *compared(ours.rates, contestant.rates), *waits))
    measured = [other.rates for other in others if not other.fault]
    if measured:
        best = [max(rates) for rates in zip(*measured, strict=True)]
        rows.append(("the best framework of each round", *compared(ours.rates, best), "–", "–"))
    return Table(title, COLUMNS, rows)


def compared(ours: list[float], theirs: list[float]) -> tuple[float, float]:
    ratio = statistics.median(mine / its for mine, its in zip(ours, theirs, strict=True))
    return statistics.median(theirs), ratio


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frameworks", description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="that has the frameworks; default: this one")
    parser.add_argument("--images", type=int, default=64, help="in each turn")
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=256, help="of the images, in pixels")
    asked = parser.parse_args()
    found = versions(asked.python)
    refuse_others(found)
    tables = []
    with ExitStack() as stack:
        stack.enter_context(database())
        web = stack.enter_context(serving(SYNC_WAIT_SECONDS=str(PATIENCE_SECONDS)))
        stack.enter_context(making(web))
        site = Site(web.url, customer()[1])
        others = contestants(found, asked.python, stack)
        for mixed in (True, False):
            everybody = [Contestant(ATELIER, partial(to_site, site))]
            everybody += [Contestant(each.name, each.send, each.at_once, fault=each.fault) for each in others]
            play(everybody, mixed, asked.images, asked.callers, asked.size, asked.rounds)
            kind = "mixed strength 0.2–1.0 and 10–50 steps" if mixed else "strength 0.7 of 30 steps"
            title = f"{asked.callers} callers, {asked.size} × {asked.size}, {kind}; medians of {asked.rounds} rounds"
            tables.append(table(title, everybody))
    publish("frameworks", tables, images=asked.images, versions=found)


if __name__ == "__main__":
    main()
