"""A whole site of real processes on loopback, as `make run` starts it, with a supervisor that restarts what dies."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.request import Request, urlopen

from redis import Redis

from tests.log_lines import assert_no_secrets_in
from tests.services import free_port, start_valkey

REPOSITORY = Path(__file__).parents[2]
PYTHON = sys.executable
PATIENCE_SECONDS = 120.0


class Site:
    """Web, io worker, sender of webhooks, clock and Valkey on an SQLite file; gpu workers are started by the test.

    `folder` holds a database that has all tables.
    """

    def __init__(self, folder: Path, model: Path, allowed_host: str) -> None:
        self.folder = folder
        self.port, self.valkey_port = free_port(), free_port()
        self.env = {
            "PATH": os.environ["PATH"],
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "VAR_DIR": str(folder),
            "PORT": str(self.port),
            "REDIS_URL": f"redis://127.0.0.1:{self.valkey_port}/0",
            "MODEL": str(model),
            "DEVICE": "cpu",
            "SAFETY_CHECKER": "none",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",  # a tiny model gains nothing from threads, and loses much on a busy machine
            "BATCH_IMAGES": "4",  # so that a worker which is killed leaves some to the next, which then need not wait
            "LEASE_SECONDS": "3",
            "SWEEP_SECONDS": "1",
            "MAX_ATTEMPTS": "100",
            "SYNC_WAIT_SECONDS": "0",
            "FETCH_WAIT_SECONDS": "0",
            "WELCOME_CREDITS": "1000",
            "FETCH_ALLOWED_HOSTS": allowed_host,
        }
        self.commands = {
            "web": f"-m config.serve --port {self.port}",
            "io": "manage.py rqworker fetch io --serializer json",
            "webhooks": "manage.py send_webhooks",
            "clock": "manage.py rqcron config.cron",
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.gpu_pids: list[int] = []  # of those that are kept
        self.forked_pids: set[int] = set()  # of these and of all others
        self.closing = threading.Event()
        self.supervisor = threading.Thread(target=self.restart_what_died, daemon=True)
        self.gpu_lock, self.nursery_lock = threading.Lock(), threading.Lock()

    def __enter__(self) -> "Site":
        self.nursery = subprocess.Popen(
            [PYTHON, "-m", "tests.resilience.nursery"],
            cwd=REPOSITORY,
            env=self.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes["valkey"] = start_valkey(self.folder / "valkey", self.valkey_port)
        for name in ("web", "io", "webhooks", "clock"):
            self.processes[name] = self.start(name)
        self.supervisor.start()
        eventually(self.is_serving)
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.supervisor.join()
        self.stop_gpus()
        for process in [*self.processes.values(), self.nursery]:
            process.kill()
            process.wait()
        assert_no_secrets_in(self.folder)

    # Processes

    def start(self, name: str) -> subprocess.Popen[bytes]:
        command = [PYTHON, *self.commands[name].split()]
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(command, cwd=REPOSITORY, env=self.env, stdout=log, stderr=log)

    def restart_what_died(self) -> None:
        while not self.closing.wait(0.05):
            for name, process in list(self.processes.items()):
                if process.poll() is None:
                    continue
                if name == "valkey":
                    self.processes[name] = start_valkey(self.folder / "valkey", self.valkey_port)
                else:
                    self.processes[name] = self.start(name)
            with self.gpu_lock:
                for pid in [pid for pid in self.gpu_pids if not is_running(pid)]:  # gave up without Redis, say
                    self.gpu_pids.remove(pid)
                    self.wait_gpu(pid)
                    self.gpu_pids.append(self.fork_gpu())

    def kill(self, name: str) -> None:
        """kill -9; the supervisor starts it again."""
        self.processes[name].kill()

    def wipe_valkey(self) -> None:
        """Forget every job, as when the disk of Redis is lost."""
        Redis(port=self.valkey_port).flushall()

    def keep_gpu(self) -> None:
        """Start a gpu worker and restart it whenever it dies."""
        with self.gpu_lock:
            self.gpu_pids.append(self.fork_gpu())

    def kill_gpus(self) -> None:
        """kill -9 every gpu worker that is kept; the supervisor starts them again."""
        with self.gpu_lock:
            for pid in self.gpu_pids:
                os.kill(pid, signal.SIGKILL)

    def stop_gpus(self) -> None:
        """kill -9 every gpu worker, and keep none of them."""
        with self.gpu_lock:
            self.gpu_pids.clear()
            for pid in list(self.forked_pids):
                os.kill(pid, signal.SIGKILL)
                self.wait_gpu(pid)

    def fork_gpu(self, worker_class: str = "generation.worker.GpuWorker", **settings: object) -> int:
        """Start a gpu worker that nobody restarts, and return its process id."""
        command = ["rqworker", "gpu", "--worker-class", worker_class, "--serializer", "json"]
        pid = self.order(start=command, log=str(self.folder / "gpu.log"), settings=settings)
        self.forked_pids.add(pid)
        return pid

    def wait_gpu(self, pid: int) -> int:
        """Return how a gpu worker exited: its code, or minus the signal."""
        code = self.wait(pid)
        self.forked_pids.remove(pid)
        return code

    def wait(self, pid: int) -> int:
        eventually(lambda: not is_running(pid))
        return self.order(wait=pid)

    def order(self, **order: Any) -> int:
        with self.nursery_lock:
            assert self.nursery.stdin
            assert self.nursery.stdout
            print(json.dumps(order), file=self.nursery.stdin, flush=True)
            return int(self.nursery.stdout.readline())

    def manage(self, *args: str) -> str:
        """Run a management command and return what it prints."""
        with NamedTemporaryFile("r") as log:  # outside of the folder, for a new key is no secret in a log
            code = self.wait(self.order(start=args, log=log.name, settings={}))
            printed = log.read()
        assert code == 0, printed
        return printed

    # Callers

    def create_customer(self, email: str) -> str:
        """Make an account and return its key."""
        code = "from accounts.models import ApiKey, User; "
        code += f"print(ApiKey.create(User.objects.create_user({email!r}), 'test')[1])"
        return self.manage("shell", "--no-imports", "-c", code).strip()

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        url = f"http://127.0.0.1:{self.port}/api/v3/{path}"
        with urlopen(Request(url, json.dumps(body).encode(), headers), timeout=10) as reply:
            return json.loads(reply.read())

    def is_serving(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    # The truth

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Ask the database behind everybody's back."""
        with closing(sqlite3.connect(self.folder / "atelier.sqlite3", timeout=30)) as database:
            return database.execute(sql, values).fetchall()

    def count(self, status: str) -> int:
        return self.rows("SELECT count(*) FROM generation_generation WHERE status = ?", status)[0][0]

    def claims(self) -> set[tuple[int, int]]:
        """Return (generation, attempt) of everything that a worker holds, alive or not."""
        return set(self.rows("SELECT id, attempt FROM generation_generation WHERE status = 'processing'"))

    def status(self, pk: int) -> str:
        return self.rows("SELECT status FROM generation_generation WHERE id = ?", pk)[0][0]

    def is_idle(self) -> bool:
        return self.count("queued") + self.count("processing") == 0


def is_running(pid: int) -> bool:
    """Tell whether the process exists and is more than a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def eventually(condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until the condition holds.

    Raises:
        AssertionError: it did not in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{condition} did not come true in {seconds:g} s"
        time.sleep(0.02)
