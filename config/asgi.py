"""The web application, in a process of its own (config/serve.py)."""

import gc
import multiprocessing
import os
import signal
from threading import Thread

import django
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

PATIENCE_SECONDS = 3  # of a request that finds no connection: the database is away, or all of them are busy


def keep_connections() -> None:
    """Let requests share connections to PostgreSQL: each has a thread of its own, which would open one.

    Only here, not in the settings of all: a pool does not survive the fork in which an io worker does each job.
    """
    database = settings.DATABASES["default"]
    if settings.DATABASE_POOL and database["ENGINE"] == "django.db.backends.postgresql":
        pool = {
            "min_size": 1,
            "max_size": settings.DATABASE_POOL,
            "timeout": PATIENCE_SECONDS,
            "reconnect_timeout": PATIENCE_SECONDS,  # longer, the pauses between its tries would grow to minutes
        }
        database["OPTIONS"] = database.get("OPTIONS", {}) | {"pool": pool}
        database["CONN_HEALTH_CHECKS"] = True  # those that a restart of the database broke are replaced


def leave_with_parent() -> None:
    """End with the process that started this one, if one did: nobody else could have the port meanwhile."""
    parent = multiprocessing.parent_process()
    if parent is not None:

        def leave() -> None:
            parent.join()
            os.kill(os.getpid(), signal.SIGTERM)

        Thread(target=leave, daemon=True).start()


class Handler(ASGIHandler):
    """Django, which goes into its thread once for each request.

    Django's own handler leaves it between middleware and view, and comes back: on a busy machine it waits each time.
    """

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        return await sync_to_async(self.get_response, thread_sensitive=True)(request)


keep_connections()
leave_with_parent()
django.setup(set_prefix=False)

from generation.waiting import Waiting  # noqa: E402  (models need Django to be set up first)

gc.collect()
gc.freeze()  # what is loaded stays: looking through all of it for garbage would stop every request for a while
application = Waiting(Handler())  # type: ignore[arg-type] # Django's own types are narrower
