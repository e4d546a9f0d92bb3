"""How a view hands over what is too large or too long for a whole answer; generation/waiting.py sends it.

The view judges whether this caller may have it and answers with headers; the chunks are sent afterwards, and neither
a thread nor the memory is held for a slow reader.
"""

from collections.abc import AsyncIterator, Callable

from django.http import HttpRequest

STREAM = "atelier.stream"  # where a view leaves what is to be sent after its answer's headers
Chunks = Callable[[], AsyncIterator[bytes]]


def request_stream(request: HttpRequest, chunks: Chunks) -> bool:
    """Note that `chunks()` is to be sent as the answer's body; False without an ASGI server, which sends none."""
    if not hasattr(request, "scope"):
        return False
    request.scope[STREAM] = chunks
    return True
