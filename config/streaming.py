"""How a view hands over what is too large or too long for a whole answer; generation/waiting.py sends it.

The view judges whether this caller may have it and answers with headers; the chunks are sent afterwards, and neither
a thread nor the memory is held for a slow reader.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connections
from django.http import HttpRequest

STREAM = "atelier.stream"  # where a view leaves what is to be sent after its answer's headers
Chunks = Callable[[], AsyncIterator[bytes]]


def request_stream(request: HttpRequest, chunks: Chunks) -> bool:
    """Note that `chunks()` is to be sent as the answer's body; False without an ASGI server, which sends none."""
    if not hasattr(request, "scope"):
        return False
    request.scope[STREAM] = chunks
    return True


async def from_thread(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield chunks, each made in one of the process's few shared threads; between two, no connection is held either."""
    while (chunk := await in_thread(next, chunks, None)) is not None:
        yield chunk


async def in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Run `function` in one of the process's few shared threads, with a database connection of its own."""

    def run() -> Any:
        try:
            return function(*args)
        finally:
            connections.close_all()

    return await sync_to_async(run, thread_sensitive=False)()
