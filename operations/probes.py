"""Tells whoever runs the site whether it lives and can work; asked by address, so before host names are checked."""

import logging
from collections.abc import Callable

from django.core.files.storage import default_storage
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse

from generation import queue

logger = logging.getLogger(__name__)


class Probes:
    """Middleware that answers /healthz, while the process lives, and /readyz, while all that it needs is there."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path == "/healthz":
            return HttpResponse("ok", content_type="text/plain")
        if request.path == "/readyz":
            state = readiness()
            return JsonResponse(state, status=200 if all(state.values()) else 503)
        return self.get_response(request)


def readiness() -> dict[str, bool]:
    """Return what works; why something does not goes to the log."""
    checks = {
        "database": lambda: connection.cursor().execute("SELECT 1"),
        "redis": lambda: queue.redis().ping(),
        "storage": lambda: default_storage.exists("readyz"),
        "gpu_worker": find_gpu_worker,
    }
    return {name: works(name, check) for name, check in checks.items()}


def find_gpu_worker() -> None:
    if not queue.gpu_workers_alive():
        raise LookupError("none is alive that has loaded the model")


def works(name: str, check: Callable[[], object]) -> bool:
    try:
        check()
    except Exception as error:  # each service's library has errors of its own
        logger.warning("Not ready: %s (%s: %s)", name, type(error).__name__, error)
        return False
    return True
