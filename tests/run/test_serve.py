"""python -m config.serve: several processes on one port, and the connections that a process keeps to its database."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
from django.db import connection

from tests.conftest import Person
from tests.live import Web, serving

REQUESTS = 20


@pytest.fixture(autouse=True)
def _real_rows(transactional_db: None) -> None:
    """The server sees only what is committed."""


def ask_often(web: Web, person: Person) -> list[str]:
    with ThreadPoolExecutor(8) as callers:
        ask = lambda _: web.post("system_load", {"key": person.key})["status"]  # noqa: E731
        return list(callers.map(ask, range(REQUESTS)))


def counted(web: Web) -> float:
    """Return how many of our requests the process that answers knows of."""
    lines = web.request("GET", "/metrics")[1].decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith('atelier_requests_total{method="POST"'))


def test_several_processes_count_together_and_end_with_the_one_that_started_them(tmp_path: Path, alice: Person) -> None:
    with serving(tmp_path, WEB_PROCESSES="2") as web:
        answers = ask_often(web, alice)
        told = {counted(web) for _ in range(6)}
        serving_pids = [child for child in web.process.children() if "spawn_main" in " ".join(child.cmdline())]
        web.process.kill()
        gone, alive = psutil.wait_procs(serving_pids, timeout=30)

    assert answers == ["ok"] * REQUESTS
    assert told == {REQUESTS}
    assert (len(gone), alive) == (2, [])


def open_connections() -> list[int]:
    """Return the server processes of other people's connections to this test run's database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )
        return [pid for (pid,) in cursor.fetchall()]


def test_requests_share_connections_and_replace_those_that_broke(tmp_path: Path, alice: Person) -> None:
    before = set(open_connections())
    with serving(tmp_path, DATABASE_POOL="2") as web:
        first = ask_often(web, alice)
        kept = set(open_connections()) - before
        second = ask_often(web, alice)
        still = set(open_connections()) - before
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s) AS pid", [[*kept]])
        third = ask_often(web, alice)
        new = set(open_connections()) - before

    assert "Traceback" not in web.log.read_text()
    assert first == second == third == ["ok"] * REQUESTS
    assert 1 <= len(kept) <= 2
    assert kept <= still
    assert 1 <= len(new) <= 2
    assert not new & kept


@contextmanager
def closed_database() -> Iterator[None]:
    """Refuse new connections to this test run's database and break those of others."""
    name = connection.settings_dict["NAME"]
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s) AS pid", [open_connections()])
            yield
        finally:
            admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


def test_a_database_that_is_away_is_soon_told_and_found_again(tmp_path: Path, alice: Person) -> None:
    with serving(tmp_path) as web:
        web.post("system_load", {"key": alice.key})
        with closed_database():
            status, body = web.request("GET", "/readyz")
        back = web.post("system_load", {"key": alice.key})

    assert (status, json.loads(body)["database"]) == (503, False)
    assert back["status"] == "ok"


def test_without_a_pool_nothing_is_kept(tmp_path: Path, alice: Person) -> None:
    before = set(open_connections())
    with serving(tmp_path, DATABASE_POOL="0") as web:
        answers = ask_often(web, alice)
        kept = set(open_connections()) - before

    assert answers == ["ok"] * REQUESTS
    assert kept == set()
