"""A site to measure: the PostgreSQL and the Valkey of the tests, and the processes that a benchmark wants."""

import os
import resource
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

EMPTY_ADDRESS = "benchmark/empty"  # of an empty view, where benchmarks/empty_site.py serves
PATIENCE_SECONDS = 300  # for a worker to load its model


@contextmanager
def database() -> Iterator[None]:
    """Set Django up on an empty database that is gone afterwards; `fsync` is off in it."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import tests.services

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
def making(web: Any, **environment: str) -> Iterator[None]:
    """Run a gpu worker for the web process, with the site's own command, once its model is loaded."""
    from django.conf import settings

    from config.processes import programs
    from generation import queue
    from tests.live import own_database_url

    command = next(program.command for program in programs("127.0.0.1") if program.name == "gpu")
    folder = web.log.parent
    environment = os.environ | {"DATABASE_URL": own_database_url(), "VAR_DIR": str(folder)} | environment
    with (folder / "gpu.log").open("wb") as log:
        process = subprocess.Popen(shlex.split(command), cwd=settings.BASE_DIR, env=environment, stdout=log, stderr=log)
    try:
        end = time.monotonic() + PATIENCE_SECONDS
        while not queue.gpu_workers_alive():
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"The gpu worker does not start:\n{(folder / 'gpu.log').read_text()}")
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait(60)


def customer(name: str = "benchmark", credits: int = 1_000_000_000) -> tuple[Any, str]:
    """Return a new account without limits, and a key of it."""
    from accounts.models import ApiKey, User
    from billing import ledger

    user = User.objects.create_user(f"{name}@example.org")
    ledger.grant(user.pk, credits, f"benchmark:{name}")
    return user, ApiKey.create(user, name)[1]


def allow_many_files() -> None:
    """Let this process and those that it starts have a socket for each of many callers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 65_536 if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
