"""The table of calls: which function answers which method and path, and which parameters it knows."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.stripe_server.account import Account, Object
from tests.stripe_server.errors import Refused
from tests.stripe_server.params import Params

Handler = Callable[..., Object]


@dataclass(frozen=True)
class Route:
    """One call of the API."""

    method: str
    pattern: re.Pattern[str]
    known: tuple[str, ...]
    handler: Handler


ROUTES: list[Route] = []


def route(method: str, path: str, *known: str) -> Callable[[Handler], Handler]:
    """Register `handler(account, params, *ids of the path)`; any parameter that is not in `known` is refused."""

    def register(handler: Handler) -> Handler:
        pattern = re.compile(re.sub(r"\{\w+\}", r"([^/]+)", path) + "$")
        ROUTES.append(Route(method, pattern, known, handler))
        return handler

    return register


def answer(account: Account, method: str, path: str, params: Params) -> Any:
    """Carry out one call.

    Raises:
        Refused: nothing was changed, but for payments that were tried and declined.
    """
    for candidate in ROUTES:
        match = candidate.pattern.match(path)
        if match and candidate.method == method:
            params.only(candidate.known)
            return candidate.handler(account, params, *match.groups())
    raise Refused(f"Unrecognized request URL ({method}: {path}).", status=404)
