"""The real web process, as `make run` starts it, on the database of this test run."""

import json
import os
import shlex
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from django.conf import settings
from django.db import connection
from django.test import override_settings

from config.processes import programs
from tests.log_lines import assert_no_secrets_in
from tests.services import free_port


@dataclass(frozen=True)
class Web:
    """A running web process."""

    port: int
    process: psutil.Popen
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def send(self, request: bytes) -> socket.socket:
        """Send bytes and return the socket, with the answer still to come."""
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        sock.sendall(request)
        return sock

    def request(self, method: str, path: str, body: Any = b"", **headers: str) -> tuple[int, bytes]:
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        status, answer = self.request("POST", f"/api/v3/{path}", json.dumps(body))
        assert status == 200, answer
        return dict(json.loads(answer))


def own_database_url() -> str:
    """Return the address of the database that this test run uses."""
    url = urlsplit(os.environ["DATABASE_URL"])
    return url._replace(path=f"/{connection.settings_dict['NAME']}").geturl()


@contextmanager
def serving(folder: Path, command: str = "", **environment: str) -> Iterator[Web]:
    """Run the web process on this test run's database until the block ends; `command` is another one that serves."""
    port, log = free_port(), folder / "web.log"
    with override_settings(PORT=port):
        web = next(program.command for program in programs("127.0.0.1") if program.name == "web")
    arguments = shlex.split(f"{command} --port {port}" if command else web)
    environment = os.environ | {"DATABASE_URL": own_database_url(), "VAR_DIR": str(folder)} | environment
    with log.open("wb") as output:
        process = psutil.Popen(arguments, cwd=settings.BASE_DIR, env=environment, stdout=output, stderr=output)
    try:
        for _ in range(1200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield Web(port, process, log)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except psutil.TimeoutExpired:
            process.kill()
    assert_no_secrets_in(folder)


@contextmanager
def working(work: Callable[[], None]) -> Iterator[None]:
    """Do the gpu worker's work in a thread for as long as the block runs."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.1):
            work()
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
