"""How log lines look: one JSON object or one line of text, with the request they belong to and without any secret."""

import json
import logging
import re
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest, HttpResponse

SECRETS = re.compile(
    r"""
    \b(?: sk | rk | pk )_ [\w-]{16,}                                 # our keys, and Stripe's
    | \bwhsec_ [\w+/=-]{16,}                                        # of webhooks
    | (?P<address> ://[^/\s@:]*: ) [^/\s@]+ (?=@)                     # the password in an address
    | (?P<field> [?&] (?i: key | token | secret ) = ) [^&\s"']+
    | (?P<header> \b (?i: authorization ) ["']? :\s* ["']? ) [^\n"'}]+
    """,
    re.VERBOSE,
)
HIDDEN = "[hidden]"
ID = re.compile(r"[\w-]{1,64}")

context: ContextVar[dict[str, Any]] = ContextVar("log_context", default={})  # noqa: B039  (it is replaced, not changed)


@contextmanager
def about(**facts: Any) -> Iterator[None]:
    """Put these facts into every log line of the block."""
    token = context.set(context.get() | facts)
    try:
        yield
    finally:
        context.reset(token)


def without_secrets(text: str) -> str:
    """Return the text with everything hidden that looks like a secret."""
    return SECRETS.sub(lambda match: "".join(filter(None, match.groups())) + HIDDEN, text)


class Line(logging.Formatter):
    """One line of text for people."""

    def format(self, record: logging.LogRecord) -> str:
        facts = "".join(f" {name}={value}" for name, value in context.get().items())
        return without_secrets(super().format(record) + facts)


class Json(logging.Formatter):
    """One JSON object a line for machines."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        } | context.get()
        if record.exc_info and record.exc_info[1]:
            entry["exception"] = "".join(traceback.format_exception(record.exc_info[1]))
        return json.dumps({name: clean(value) for name, value in entry.items()}, ensure_ascii=False)


class NoProbes(logging.Filter):
    """Drops Django's own line about each answer of /readyz that something lacks: another one says what."""

    def filter(self, record: logging.LogRecord) -> bool:
        request = getattr(record, "request", None)
        return not (isinstance(request, HttpRequest) and request.path == "/readyz")


def clean(value: Any) -> Any:
    return without_secrets(value) if isinstance(value, str) else value


class RequestIds:
    """Middleware that gives every request an id: the proxy's X-Request-ID where it sends a plain one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        sent = request.headers.get("X-Request-ID", "")
        request_id = sent if ID.fullmatch(sent) else uuid.uuid4().hex
        with about(request_id=request_id):
            response = self.get_response(request)
        response["X-Request-ID"] = request_id
        return response
