"""Sends a mix of calls to any running site: python -m benchmarks.load https://images.example.com --key sk_…

Every caller sends its next call when the one before is answered, and follows a generation that it is told is still
processing until it is over. It spends credits of the key's account. Prints how many calls a second were answered, how
long they took, and what went wrong.
"""

import argparse
import asyncio
import base64
import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.report import Table, publish, quantile

SAMPLE = Path(__file__).parents[1] / "static" / "samples" / "cat.jpg"
MIX = "text2img=2,img2img=2,fetch=8,account=1,price=1,invalid=1"
WHOLE = "from submission to image"
COLUMNS = ("call", "answered", "a second", "p50, ms", "p95, ms", "slowest, ms", "errors")
REFUSED = {"invalid"}  # kinds that the site must refuse


@dataclass
class Load:
    """What callers ask for, and what became of it."""

    url: str
    key: str
    size_pixels: int = 256
    steps: int = 20
    timeout_seconds: float = 300
    answered: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # seconds of each
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)  # (kind, what went wrong)
    pks: list[int] = field(default_factory=list)  # of generations that succeeded

    def __post_init__(self) -> None:
        self.init_image = base64.b64encode(SAMPLE.read_bytes()).decode()

    def body(self, kind: str, luck: random.Random) -> tuple[str, dict[str, Any]]:
        """Return the address below /api/v3/ and the body of one call."""
        text: dict[str, Any] = {
            "prompt": "a cat sitting on a bench",
            "width": self.size_pixels,
            "height": self.size_pixels,
            "num_inference_steps": self.steps,
            "safety_checker": "no",
            "seed": luck.randrange(2**32),
        }
        match kind:
            case "text2img":
                return kind, text
            case "img2img":
                return kind, text | {"init_image": self.init_image, "strength": round(luck.uniform(0.2, 1), 2)}
            case "fetch":
                return f"fetch/{luck.choice(self.pks or [0])}", {}
            case "invalid":
                return "text2img", text | {"samples": 99}
        return kind, {}

    async def call(self, session: aiohttp.ClientSession, kind: str, luck: random.Random) -> None:
        """Send one call; when it begins a generation, ask for that until it is over."""
        begun = time.perf_counter()
        path, body = self.body(kind, luck)
        answer = await self.post(session, kind, path, body)
        while answer and answer.get("status") == "processing":
            answer = await self.post(session, "fetch", f"fetch/{answer['id']}", {})
        if answer and kind in ("text2img", "img2img") and answer.get("status") == "success":
            self.answered[WHOLE].append(time.perf_counter() - begun)
            self.pks.append(answer["id"])

    async def post(
        self, session: aiohttp.ClientSession, kind: str, path: str, body: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Send one request and return the answer; None after an error, which is counted."""
        begun = time.perf_counter()
        try:
            async with session.post(f"{self.url}/api/v3/{path}", json=body | {"key": self.key}) as response:
                answer: dict[str, Any] = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            self.errors[kind, type(error).__name__] += 1
            return None
        self.answered[kind].append(time.perf_counter() - begun)
        if fault := wrong(kind, path, response.status, answer):
            self.errors[kind, fault] += 1
            return None
        return answer

    async def run(self, callers: int, mix: dict[str, int], more: Callable[[], bool]) -> float:
        """Let so many callers call as long as `more()` says; return the seconds that it took."""
        begun = time.perf_counter()
        timeout = aiohttp.ClientTimeout(total=self.timeout_seconds)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=timeout, trust_env=False
        ) as session:

            async def caller(k: int) -> None:
                luck = random.Random(k)
                while more():
                    (kind,) = luck.choices([*mix], [*mix.values()])
                    await self.call(session, kind, luck)

            await asyncio.gather(*(caller(k) for k in range(callers)))
        return time.perf_counter() - begun

    def tables(self, seconds: float) -> list[Table]:
        """Return how each kind of call fared, and what went wrong how often."""
        rows = []
        for kind in sorted({*self.answered, *(kind for kind, _ in self.errors)}):
            times = [1000 * each for each in self.answered[kind]] or [0.0]
            faults = sum(count for (failed, _), count in self.errors.items() if failed == kind)
            count = len(self.answered[kind])
            rows.append((kind, count, count / seconds, quantile(times, 0.5), quantile(times, 0.95), max(times), faults))
        faults = [(kind, fault, count) for (kind, fault), count in self.errors.most_common()]
        return [
            Table("Calls", COLUMNS, rows),
            *([Table("Errors", ("call", "error", "times"), faults)] if faults else []),
        ]


def wrong(kind: str, path: str, status: int, answer: Any) -> str:
    """Return what is wrong with an answer, or nothing."""
    said = answer.get("status") if isinstance(answer, dict) else None
    if status >= 500 or said is None:
        return f"HTTP {status}"
    if kind in REFUSED:
        return "" if said == "error" else f"was not refused: {said}"
    if path == "fetch/0":  # before anything was made
        return ""
    return f"{said}: {answer.get('message')}"[:120] if said in ("error", "failed") else ""


def read_mix(text: str) -> dict[str, int]:
    """Return kind → weight."""
    mix = {kind: int(weight) for kind, _, weight in (part.partition("=") for part in text.split(","))}
    unknown = mix.keys() - {"text2img", "img2img", "fetch", "account", "price", "system_load", "events", "invalid"}
    if unknown or not sum(mix.values()) > 0:
        raise ValueError(text)
    return mix


def main() -> None:
    """Read the arguments, call, and publish."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("url", help="the site's address")
    parser.add_argument("--key", default=os.environ.get("ATELIER_KEY"), help="an API key; or set ATELIER_KEY")
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=30, help="after which nobody calls any more")
    parser.add_argument("--mix", type=read_mix, default=MIX, help=f"what is called how often; default: {MIX}")
    parser.add_argument("--size", type=int, default=256, help="of the images, in pixels")
    parser.add_argument("--steps", type=int, default=20)
    asked = parser.parse_args()
    if not asked.key:
        parser.error("an API key is needed: --key, or ATELIER_KEY in the environment")
    load = Load(asked.url.rstrip("/"), asked.key, asked.size, asked.steps)
    end = time.monotonic() + asked.seconds
    seconds = asyncio.run(load.run(asked.callers, asked.mix, lambda: time.monotonic() < end))
    publish("load", load.tables(seconds), callers=asked.callers, seconds=seconds, mix=asked.mix, steps=asked.steps)


if __name__ == "__main__":
    main()
