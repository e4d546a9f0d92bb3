"""Runs the whole site on this machine until Ctrl-C: `make run`.

One supervisord inside this process keeps web, workers, clock and Valkey running and starts again what dies. What is
left of a run that was killed is stopped first.
"""

import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import psutil
from supervisor import events
from supervisor.medusa.asyncore_25 import ExitNow
from supervisor.options import ServerOptions
from supervisor.states import SupervisorStates
from supervisor.supervisord import Supervisor

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from django.conf import settings

from config import env
from config.files import shown
from config.processes import embed_valkey, pretend_stripe, programs, write_supervisor_config

MANAGE = (sys.executable, "manage.py")
MARK = "ATELIER_SITE"  # environment variable of every process of a site, with its VAR_DIR
DEATHS_AT_START = 2  # how often a process may end by itself before the site gives up starting


class CannotStart(Exception):
    """Says what to change."""


class Site(Supervisor):
    """Keeps the processes running; gives up only while the site starts, since nobody is served yet."""

    def __init__(self, options: ServerOptions, base_url: str) -> None:
        super().__init__(options)
        self.base_url = base_url
        self.failed = False
        self.deaths: Counter[str] = Counter()
        self.under_nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN

    def runforever(self) -> None:
        if self.under_nohup:  # supervisord would stop when the terminal closes
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        # A process group of its own: Ctrl-C is answered here, and reaches the others as an orderly stop.
        self.demo = subprocess.Popen([*MANAGE, "demo", self.base_url], cwd=settings.BASE_DIR, process_group=0)
        events.subscribe(events.ProcessStateExitedEvent, self.on_death)
        events.subscribe(events.ProcessStateBackoffEvent, self.on_death)
        events.subscribe(events.SupervisorStoppingEvent, self.on_stop)
        try:
            super().runforever()
        except ExitNow:
            say("Stopped." if not self.failed else "Nothing is running any more.")

    def on_death(self, event: events.ProcessStateEvent) -> None:
        name = event.process.config.name
        log = settings.VAR_DIR / "log" / f"{name}.log"
        self.deaths[name] += 1
        if self.demo.poll() is None and self.deaths[name] == DEATHS_AT_START:
            self.failed = True
            say(f"{name} does not start. The end of {shown(log)}:\n\n{last_lines(log)}\n")
            self.options.mood = SupervisorStates.SHUTDOWN
        else:
            say(f"{name} ended and is started again ({shown(log)}).")

    def on_stop(self, event: events.SupervisorStoppingEvent) -> None:
        self.demo.terminate()
        say("Stopping ...")


def main() -> int:
    """Run the site and return the exit status."""
    host = env.text("HOST", "127.0.0.1")
    lock = claim_folder()
    stop_leftovers()
    check_port(host, settings.PORT)
    if settings.STRIPE == "fake":
        check_port("127.0.0.1", settings.STRIPE_PORT)
    os.environ |= {MARK: site_mark(), "VAR_DIR": site_mark(), "PORT": str(settings.PORT), "PYTHONUNBUFFERED": "1"}
    if subprocess.run([*MANAGE, "migrate", "--verbosity", "0"], cwd=settings.BASE_DIR).returncode:
        raise CannotStart("The database could not be prepared; the lines above say why.")
    valkey = None if env.text("REDIS_URL") else embed_valkey()
    options = ServerOptions()
    running = [*programs(host), *pretend_stripe(address(host))]
    config, log = write_supervisor_config(valkey, running), settings.VAR_DIR / "log" / "supervisord.log"
    options.realize(["-c", str(config), "-l", str(log), "-j", str(settings.VAR_DIR / "supervisord.pid")])
    options.first, options.test = True, False  # as supervisord's own main does
    site = Site(options, address(host))
    try:
        site.main()
    finally:
        stop_leftovers()
        lock.close()
    return int(site.failed)


def claim_folder() -> TextIO:
    """Make sure that no other site uses VAR_DIR for as long as the returned file is open."""
    lock = open(settings.VAR_DIR / "lock", "w")  # noqa: SIM115  (the caller keeps it open)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CannotStart(
            f"A site is already running in {shown(settings.VAR_DIR)}; another one needs its own VAR_DIR."
        ) from None
    return lock


def check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no such port"
            raise CannotStart(
                f"Port {port} of {host} can't be used ({reason}). Choose another: PORT=9000 make run"
            ) from error


def address(host: str) -> str:
    """Return the site's address as it is called from this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{settings.PORT}" if ":" in host else f"http://{host}:{settings.PORT}"


def stop_leftovers() -> None:
    """Kill the processes of an earlier run of this site whose launcher was killed."""
    killed = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # it has ended, or belongs to somebody else
            if process.environ().get(MARK) == site_mark() and process.pid != os.getpid():
                process.kill()
                killed.append(process)
    psutil.wait_procs(killed, timeout=10)


def site_mark() -> str:
    return str(settings.VAR_DIR.resolve())


def last_lines(path: Path, count: int = 15) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-count:])


def say(text: str) -> None:
    with suppress(OSError):  # nobody reads any more; the site goes on
        print(text, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (CannotStart, env.BadSetting) as refusal:
        sys.exit(str(refusal))
