"""Lets callers wait for a generation without holding a thread.

A view stays synchronous: it answers with headers alone and notes in the request that the caller is to wait. By then
the view's thread is free again; this ASGI application, which stands around Django, waits for the word that the
generation ended, and only then is the answer made. One Redis subscription a process wakes every waiter; one query a
second for all of them finds what Redis failed to say.

Django is only ever between a whole request and a whole answer: slow senders and slow readers hold no thread either.
What would be too large or too long for a whole answer, a stream of events or an archive, is noted by the view in the
same way: the view judges whether this caller may have it, and the chunks are sent from here.
"""

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from config.headers import HeaderTooLong, plain_headers
from config.streaming import STREAM, Chunks, in_thread
from config.streaming import request_stream as request_stream
from generation.models import LIVE, Generation
from generation.queue import ENDED

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Reply = tuple[int, dict[str, Any]]  # HTTP status and JSON body

NOTE = "atelier.wait"  # where a view leaves its note in the ASGI scope
THREADS = 32  # requests inside Django at once; the rest wait in line without a thread
POLL_SECONDS = 1.0
BAD_REQUEST: list[Message] = [
    {"type": "http.response.start", "status": 400, "headers": [(b"content-type", b"text/plain")]},
    {"type": "http.response.body", "body": b"Bad Request"},
]
REMEMBERED = 10_000  # ended generations, for callers that begin to wait a moment too late


@dataclass(frozen=True)
class Wait:
    """What a view asks for: wait for the generation at most so long, then answer."""

    pk: int
    seconds: float
    reply: Callable[[], Reply]  # for the state that was reached
    unread_reply: Callable[[], Reply]  # while that state can't be read; needs no database


def request_wait(request: HttpRequest, wait: Wait) -> bool:
    """Note that the caller is to wait; False where nobody waits: without an ASGI server (in a unit test, say).

    The view then leaves the body to the wait: of its response only the headers are sent.
    """
    if wait.seconds <= 0 or not hasattr(request, "scope"):
        return False
    request.scope[NOTE] = wait
    return True


class Endings:
    """Knows which generations ended; one for a process."""

    def __init__(self) -> None:
        self.waiters: defaultdict[int, set[asyncio.Event]] = defaultdict(set)
        self.recent: dict[int, None] = {}
        self.tasks: list[asyncio.Task[None]] = []

    async def wait(self, pk: int, seconds: float) -> bool:
        """Return True as soon as the generation ended, False after `seconds`."""
        self.start()
        if pk in self.recent:
            return True
        event = asyncio.Event()
        self.waiters[pk].add(event)
        try:
            await asyncio.wait_for(event.wait(), seconds)
        except TimeoutError:
            return False
        finally:
            self.waiters[pk].discard(event)
            if not self.waiters[pk]:
                del self.waiters[pk]
        return True

    def start(self) -> None:
        """Begin to listen, before the first caller waits."""
        if not self.tasks:
            self.tasks = [asyncio.create_task(self.listen()), asyncio.create_task(self.poll())]

    def ended(self, pk: int) -> None:
        self.recent[pk] = None
        if len(self.recent) > REMEMBERED:
            del self.recent[next(iter(self.recent))]
        for event in self.waiters.get(pk, ()):
            event.set()

    async def listen(self) -> None:
        """Hear from Redis, and come back whenever it was away."""
        while True:
            try:
                async with Redis.from_url(settings.REDIS_URL) as redis, redis.pubsub() as pubsub:
                    await pubsub.subscribe(ENDED)
                    async for message in pubsub.listen():
                        if message["type"] == "message":
                            self.ended(int(message["data"]))
            except (RedisError, OSError) as error:
                logger.warning("Redis is away (%s); asking the database meanwhile.", error)
            await asyncio.sleep(POLL_SECONDS)

    async def poll(self) -> None:
        """Ask the database about everything that somebody waits for."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if self.waiters:
                try:
                    for pk in await in_thread(over, list(self.waiters)):
                        self.ended(pk)
                except Exception:  # the database is away, say; the callers' own time limits stand
                    logger.exception("Asking for ended generations failed.")


def over(pks: list[int]) -> list[int]:
    """Return those of the generations that are over, or gone."""
    return sorted(set(pks) - set(Generation.objects.filter(pk__in=pks, status__in=LIVE).values_list("pk", flat=True)))


class Waiting:
    """Stands around Django: limits the threads and the memory it uses, and sends its answers, some of them later."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.endings = Endings()
        self.threads = asyncio.Semaphore(THREADS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            scope["headers"] = plain_headers(scope["headers"])
        except HeaderTooLong:
            for message in BAD_REQUEST:
                await send(message)
            return
        held_back: list[Message] = []
        received_bytes = 0
        inside = False

        async def receive_then_enter() -> Message:
            """Hand on the body, or of one that is too large only its length; take a thread when it is all here."""
            nonlocal inside, received_bytes
            message = await receive()
            if message["type"] == "http.request" and not inside:
                received_bytes += len(message.get("body", b""))
                if received_bytes > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
                    message = {**message, "body": b""}
                if not message.get("more_body"):
                    state_length(scope, received_bytes)
                    await self.threads.acquire()
                    inside = True
            return message

        async def hold_back(message: Message) -> None:
            held_back.append(message)

        try:
            await self.app(scope, receive_then_enter, hold_back)
        except SuspiciousOperation:  # too long a query, say: Django reads it before its own error handling begins
            held_back[:] = BAD_REQUEST
        finally:
            if inside:
                self.threads.release()
        if NOTE in scope:
            await self.answer_later(scope[NOTE], held_back, receive, send)
        elif STREAM in scope:
            await stream(scope[STREAM], held_back, receive, send)
        else:
            for message in held_back:
                await send(message)

    async def answer_later(self, wait: Wait, held_back: list[Message], receive: Receive, send: Send) -> None:
        """Send the answer for the state that is reached in time; a caller that leaves is sent nothing."""
        waiting = asyncio.create_task(self.endings.wait(wait.pk, wait.seconds))
        leaving = asyncio.create_task(disconnected(receive))
        done, _ = await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        if waiting not in done:
            waiting.cancel()
            return
        for message in await final_answer(wait, held_back):
            await send(message)


async def stream(chunks: Chunks, held_back: list[Message], receive: Receive, send: Send) -> None:
    """Send chunks under the headers of the answer that was held back, until they end or the caller leaves."""
    start = held_back[0]
    headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
    await send({**start, "headers": headers})

    async def send_all() -> None:
        async for chunk in chunks():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    sending, leaving = asyncio.create_task(send_all()), asyncio.create_task(disconnected(receive))
    await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
    for task in (sending, leaving):
        task.cancel()
    await asyncio.gather(sending, leaving, return_exceptions=True)
    if not sending.cancelled() and (error := sending.exception()):
        logger.error("A stream broke off.", exc_info=error)
        raise error  # the server cuts the connection, so that nobody takes the part for the whole


def state_length(scope: Scope, length_bytes: int) -> None:
    """Put the length of the body into the headers: a chunked one came without, and Django reads no form without."""
    headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
    scope["headers"] = [*headers, (b"content-length", str(length_bytes).encode())]


async def final_answer(wait: Wait, held_back: list[Message]) -> list[Message]:
    """Return the answer for the state that was reached, under the headers that were held back."""
    try:
        status, body = await in_thread(wait.reply)
    except Exception:  # the database is away, say; the generation goes on, and the caller can fetch it
        logger.exception("The final answer for generation %s failed.", wait.pk)
        status, body = wait.unread_reply()
    content = json.dumps(body, ensure_ascii=False).encode()
    start = held_back[0]
    headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
    headers.append((b"content-length", str(len(content)).encode()))
    return [{**start, "status": status, "headers": headers}, {"type": "http.response.body", "body": content}]


async def disconnected(receive: Receive) -> None:
    """Return when the caller is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
