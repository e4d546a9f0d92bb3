"""A site to measure: the PostgreSQL and the Valkey of the tests, and the processes that a benchmark wants."""

import os
import resource
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks.model import guided_throughout

EMPTY_ADDRESS = "benchmark/empty"  # of an empty view, where benchmarks/empty_site.py serves
EMPTY_READING_ADDRESS = "benchmark/empty-reading"  # of one that reads the key with each request
PATIENCE_SECONDS = 300  # for a worker to load its model


@contextmanager
def database() -> Iterator[None]:
    """Set Django up on an empty database that is gone afterwards; `fsync` is off in it.

    MODEL is the built-in one with guidance in every step, unless the environment says otherwise.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("The benchmark was ended."))  # and cleans up
    import tests.services

    with guided_throughout() as model:
        os.environ.setdefault("MODEL", str(model))
        try:
            import django
            from django.core.management import call_command
            from django.test.utils import setup_test_environment

            django.setup()
            setup_test_environment()
            call_command("migrate", verbosity=0)
            yield
        finally:
            tests.services.pytest_unconfigure()


@contextmanager
def serving(command: str = "", **environment: str) -> Iterator[Any]:
    """Run a web process (tests.live.Web) inside `database`, by the site's own command or another that takes --port."""
    from tests import live

    allow_many_files()
    with tempfile.TemporaryDirectory(prefix="atelier-benchmark-") as folder:
        with live.serving(Path(folder), command, **environment) as web:
            yield web


@contextmanager
def making(web: Any, *apart: dict[str, str]) -> Iterator[list[psutil.Popen]]:
    """Run gpu workers for the web process, with the site's own command, once all have loaded their model.

    There is one for each environment given, or a single one as it is.
    """
    from django.conf import settings

    from config.processes import programs
    from generation import queue
    from tests.live import own_database_url

    command = next(program.command for program in programs("127.0.0.1") if program.name == "gpu")
    folder, alive = web.log.parent, queue.gpu_workers_alive()
    shared = os.environ | {"DATABASE_URL": own_database_url(), "VAR_DIR": str(folder)}
    environments = apart or ({},)
    logs = [folder / f"gpu-{k}.log" for k in range(len(environments))]
    workers: list[psutil.Popen] = []
    try:
        for path, environment in zip(logs, environments, strict=True):
            with path.open("wb") as log:
                workers.append(
                    psutil.Popen(
                        shlex.split(command), cwd=settings.BASE_DIR, env=shared | environment, stdout=log, stderr=log
                    )
                )
        end = time.monotonic() + PATIENCE_SECONDS
        while queue.gpu_workers_alive() < alive + len(workers):
            if any(each.poll() is not None for each in workers) or time.monotonic() > end:
                told = "\n".join(path.read_text() for path in logs)
                raise SystemExit(f"A gpu worker does not start:\n{told}")
            time.sleep(0.2)
        yield workers
    finally:
        stop(workers)


def stop(processes: Sequence[psutil.Popen], patience_seconds: float = 60) -> None:
    """End processes and what they started, by force where asking does not help."""
    everything = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            everything += process.children(recursive=True)
            process.terminate()
    psutil.wait_procs(processes, patience_seconds)
    for process in [*processes, *everything]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
            process.wait(10)


def customer(name: str = "benchmark", credits: int = 1_000_000_000) -> tuple[Any, str]:
    """Return a new account without limits, and a key of it."""
    from accounts.models import ApiKey, User
    from billing import ledger

    user = User.objects.create_user(f"{name}@example.org")
    ledger.grant(user.pk, credits, f"benchmark:{name}")
    return user, ApiKey.create(user, name)[1]


def in_thread(function: Callable[[], int]) -> int:
    """Call it with a database connection of this thread's own."""
    from django.db import connection

    try:
        return function()
    finally:
        connection.close()


def allow_many_files() -> None:
    """Let this process and those that it starts have a socket for each of many callers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 65_536 if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
