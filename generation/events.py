"""Server-sent events about generations that somebody watches, sent without holding a thread.

An event is the whole present state, so a watcher who was away misses nothing: what is sent first after a reconnection
is the state of that moment, unless its id is the last one that was received. Redis brings the steps and the drafts; one
query a second for everything that is watched in this process brings what Redis failed to say.
"""

import asyncio
import json
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings
from django.utils import timezone
from redis.asyncio import Redis
from redis.exceptions import RedisError

from config.streaming import in_thread
from generation import estimate, pricing, progress
from generation.models import LIVE, Generation, Status
from generation.progress import Progress
from generation.queue import ENDED

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
SILENCE_SECONDS = 15.0  # proxies cut connections that are silent for longer
LONGEST_SECONDS = 300.0  # then the browser asks again, and is judged again
RETRY = b"retry: 1000\n\n"  # milliseconds until a browser that was cut off asks again
FINAL_EVENT = "end"


@dataclass(frozen=True)
class State:
    """What there is to be seen of a generation."""

    status: str
    attempt: int
    step: int
    steps: int  # UNet steps in all
    eta_seconds: int  # 0: over
    draft: str = ""  # JPEG as base64
    draft_number: int = 0

    @property
    def id(self) -> str:
        """The event's id, the same for what looks the same."""
        if self.is_final:
            return self.status
        return f"{self.status}-{self.attempt}-{self.step}-{self.draft_number}-{self.eta_seconds}"

    @property
    def is_final(self) -> bool:
        return self.status not in LIVE

    def as_event(self) -> bytes:
        data = {
            "status": self.status,
            "step": self.step,
            "steps": self.steps,
            "eta_seconds": self.eta_seconds,
            "draft": f"data:image/jpeg;base64,{self.draft}" if self.draft else "",
        }
        name = FINAL_EVENT if self.is_final else "progress"
        return f"id: {self.id}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode()


def states(pks: list[int]) -> dict[int, State]:
    """Return the states of generations as their rows know them."""
    return {generation.pk: state(generation) for generation in Generation.objects.filter(pk__in=pks)}


def state(generation: Generation) -> State:
    """Return a generation's state as its row knows it."""
    steps = pricing.steps(generation.parameters)
    step = generation.step if generation.status != Status.QUEUED else 0
    eta_seconds = remaining_seconds(generation, step, steps)
    return State(generation.status, generation.attempt, step, steps, eta_seconds)


def remaining_seconds(generation: Generation, step: int, steps: int) -> int:
    """Return the seconds until a generation is over: by its own pace once it has one."""
    if generation.is_final:
        return 0
    if not step or generation.started_at is None:
        return max(1, round(estimate.eta_seconds(generation)))
    elapsed_seconds = (timezone.now() - generation.started_at).total_seconds()
    return max(1, round(elapsed_seconds / step * (steps - step)))


class Watchers:
    """Everybody who watches a generation in this process."""

    def __init__(self) -> None:
        self.waking: defaultdict[int, set[asyncio.Event]] = defaultdict(set)
        self.states: dict[int, State] = {}
        self.tasks: list[asyncio.Task[None]] = []
        self.news = asyncio.Event()  # asks the database at once

    async def events(self, pk: int, last_id: str = "") -> AsyncIterator[bytes]:
        """Yield the state of a generation whenever it changes, the final one at last."""
        self.start()
        wake = asyncio.Event()
        self.waking[pk].add(wake)
        self.news.set()
        leave_at = time.monotonic() + LONGEST_SECONDS
        try:
            yield RETRY
            while time.monotonic() < leave_at:
                state = self.states.get(pk)
                if state and state.id != last_id:
                    yield state.as_event()
                    last_id = state.id
                if state and state.is_final:
                    return
                wake.clear()
                try:
                    await asyncio.wait_for(wake.wait(), SILENCE_SECONDS)
                except TimeoutError:
                    yield b": still here\n\n"
        finally:
            self.waking[pk].discard(wake)
            if not self.waking[pk]:
                del self.waking[pk]
                self.states.pop(pk, None)

    def start(self) -> None:
        if not self.tasks:
            self.tasks = [asyncio.create_task(self.listen()), asyncio.create_task(self.poll())]

    def show(self, pk: int, state: State) -> None:
        self.states[pk] = state
        for wake in self.waking.get(pk, ()):
            wake.set()

    async def listen(self) -> None:
        """Hear from Redis, and come back whenever it was away."""
        while True:
            try:
                async with Redis.from_url(settings.REDIS_URL) as redis, redis.pubsub() as pubsub:
                    await pubsub.subscribe(progress.CHANNEL, ENDED)
                    async for message in pubsub.listen():
                        if message["type"] == "message":
                            self.hear(message["channel"].decode(), message["data"])
            except (RedisError, OSError) as error:
                logger.warning("Redis is away (%s); progress comes from the database meanwhile.", error)
            await asyncio.sleep(POLL_SECONDS)

    def hear(self, channel: str, data: bytes) -> None:
        if channel == ENDED:
            if int(data) in self.waking:
                self.news.set()
            return
        said = Progress.from_json(data)
        if said.pk in self.waking and (known := self.states.get(said.pk)):
            self.show(said.pk, told(known, said))

    async def poll(self) -> None:
        """Ask the database about everything that is watched, and tell the workers that it is."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.news.wait(), POLL_SECONDS)
            self.news.clear()
            if not self.waking:
                continue
            try:
                pks = list(self.waking)
                drafts = await self.announce(pks)
                for pk, state in (await in_thread(states, pks)).items():
                    self.show(pk, told(state, drafts[pk]) if pk in drafts else state)
            except Exception:  # the database is away, say: watchers see no news meanwhile
                logger.exception("Asking for the state of what is watched failed.")

    async def announce(self, pks: list[int]) -> dict[int, Progress]:
        """Let the workers know that these are watched; return what they said of them lately."""
        try:
            async with Redis.from_url(settings.REDIS_URL) as redis:
                async with redis.pipeline(transaction=False) as pipeline:
                    for pk in pks:
                        pipeline.set(progress.watched_key(pk), 1, ex=progress.WATCHED_SECONDS)
                    pipeline.mget([progress.progress_key(pk) for pk in pks])
                    texts: list[Any] = (await pipeline.execute())[-1]
        except (RedisError, OSError):
            return {}
        return {pk: Progress.from_json(text) for pk, text in zip(pks, texts, strict=True) if text}


def told(known: State, said: Progress) -> State:
    """Return the state with what a worker said added, if it is about the same attempt."""
    if known.status != Status.PROCESSING or known.attempt != said.attempt:
        return known
    return replace(known, step=max(known.step, said.step), draft=said.draft, draft_number=said.draft_number)


watchers = Watchers()  # one for a process
