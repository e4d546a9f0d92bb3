"""How a view hands over what is too large or too long for a whole answer; generation/waiting.py sends it.

The view judges whether this caller may have it and answers with headers; the chunks are sent afterwards, and neither
a thread nor the memory is held for a slow reader.
"""

from collections.abc import AsyncIterator, Callable, Iterator

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

    def make_one() -> bytes | None:
        try:
            return next(chunks, None)
        finally:
            connections.close_all()

    while (chunk := await sync_to_async(make_one, thread_sensitive=False)()) is not None:
        yield chunk
