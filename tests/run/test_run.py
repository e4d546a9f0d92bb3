"""`make run` without make: one site is started, and the tests use it in this order until one of them stops it."""

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.request import urlopen

import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 150  # on a busy machine; 15 on an idle one


@dataclass
class Launched:
    process: subprocess.Popen[str]
    output: IO[str]
    var_dir: Path
    port: int

    def printed(self) -> str:
        self.output.seek(0)
        return self.output.read()

    def wait_for(self, text: str) -> None:
        until(lambda: text in self.printed() or self.process.poll() is not None)
        assert text in self.printed()

    def children(self, part_of_command: str) -> list[psutil.Process]:
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if part_of_command in command(child)]


def command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return ""


def until(condition) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def launch(var_dir: Path, port: int, output: IO[str], **environment: str) -> subprocess.Popen[str]:
    site = {"VAR_DIR": str(var_dir), "PORT": str(port), "DJANGO_SETTINGS_MODULE": "config.settings"}
    site["OMP_NUM_THREADS"] = "1"  # torch's threads wait for each other, which takes minutes on a busy machine
    inherited = {name: value for name, value in os.environ.items() if not name.endswith("_URL")}
    return subprocess.Popen(
        [sys.executable, "-m", "config.run"],
        cwd=ROOT,
        env=inherited | site | environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
    )


def processes_of(var_dir: Path) -> list[psutil.Process]:
    """Return what runs for the site: every process that was given its folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("VAR_DIR") == str(var_dir) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Launched]:
    # too deep for a Unix socket, with signs that mean something to shells and to supervisord
    var_dir = tmp_path_factory.mktemp("it's 100% a site") / ("deep" * 30)
    port = free_port()
    with open(tmp_path_factory.mktemp("output") / "console", "w+") as output:
        process = launch(var_dir, port, output, STRIPE="fake", STRIPE_PORT=str(free_port()))
        try:
            yield Launched(process, output, var_dir, port)
        finally:
            process.terminate()
            process.wait(60)
            for left in processes_of(var_dir):
                left.kill()


def test_it_makes_a_first_image_and_shows_how(site):
    site.wait_for("Ctrl-C stops everything.")

    printed = site.printed()
    reply = json.loads(printed[printed.index("\n{") : printed.index("\n}") + 2])
    assert reply["status"] == "success"
    assert (site.var_dir / reply["output"][0].split(f":{site.port}/")[1]).read_bytes().startswith(b"\x89PNG")
    assert f"http://127.0.0.1:{site.port}/api/v3/img2img" in re.search(r"curl .*", printed)[0]
    assert "Traceback" not in printed


def test_it_writes_the_demo_account_down_for_its_owner_only(site):
    note = site.var_dir / "demo.json"
    demo = json.loads(note.read_text())

    assert note.stat().st_mode & 0o777 == 0o600
    assert demo.keys() == {"base_url", "api_key", "email", "password", "sample_path"}
    assert demo["base_url"] == f"http://127.0.0.1:{site.port}"
    assert demo["api_key"] in site.printed()
    assert Path(demo["sample_path"]).is_file()


def test_it_writes_a_request_that_can_be_sent_again(site):
    request = json.loads((site.var_dir / "demo-request.json").read_text())
    demo = json.loads((site.var_dir / "demo.json").read_text())

    assert (site.var_dir / "demo-request.json").stat().st_mode & 0o777 == 0o600
    assert base64.b64decode(request["init_image"]) == Path(demo["sample_path"]).read_bytes()


def test_it_keeps_the_embedded_valkey_to_itself(site):
    address = (site.var_dir / "redis_url").read_text()
    port = int(re.search(r":(\d+)/", address)[1])

    with socket.create_connection(("127.0.0.1", port)) as stranger:
        stranger.sendall(b"PING\r\n")
        assert stranger.recv(100).startswith(b"-NOAUTH")
    assert (site.var_dir / "redis_url").stat().st_mode & 0o777 == 0o600


def test_it_runs_a_pretend_stripe_when_asked(site):
    address = re.search(
        r"Cards are taken by a pretend Stripe, and no money moves: (http://127\.0\.0\.1:\d+/)\n", site.printed()
    )

    with urlopen(address[1]) as page:
        assert "This is a pretend Stripe." in page.read().decode()


def test_it_listens_on_no_port_but_the_site_and_valkey(site):
    launcher = psutil.Process(site.process.pid)

    assert launcher.net_connections() == []


def test_it_refuses_a_taken_port_before_anything_starts(site, tmp_path):
    with open(tmp_path / "console", "w+") as output:
        second = launch(tmp_path / "var", site.port, output)
        status = second.wait(START_SECONDS)
        output.seek(0)
        said = output.read()

    assert status == 1
    assert said == (
        f"Port {site.port} of 127.0.0.1 can't be used (Address already in use). Choose another: PORT=9000 make run\n"
    )
    assert not (tmp_path / "var" / "log").exists()
    assert not (tmp_path / "var" / "atelier.sqlite3").exists()


def test_it_refuses_a_folder_that_another_site_uses(site, tmp_path):
    with open(tmp_path / "console", "w+") as output:
        second = launch(site.var_dir, free_port(), output)
        status = second.wait(START_SECONDS)
        output.seek(0)
        said = output.read()

    assert status == 1
    assert said.startswith("A site is already running in ")
    assert site.process.poll() is None


@pytest.mark.parametrize("part_of_command", ["GpuWorker", "valkey-server", "config.serve"])
def test_it_starts_again_what_is_killed(site, part_of_command):
    (killed,) = site.children(part_of_command)

    killed.kill()

    until(lambda: [child for child in site.children(part_of_command) if child.pid != killed.pid])
    assert site.process.poll() is None


def test_it_stops_every_process_on_sigint(site):
    assert len(processes_of(site.var_dir)) > 5

    site.process.send_signal(signal.SIGINT)

    assert site.process.wait(60) == 0
    assert processes_of(site.var_dir) == []
    assert site.printed().endswith("Stopping ...\nStopped.\n")


def test_it_says_why_a_process_does_not_start(tmp_path):
    with open(tmp_path / "console", "w+") as output:
        nowhere = f"redis://127.0.0.1:{free_port()}/0"
        process = launch(tmp_path / "var", free_port(), output, REDIS_URL=nowhere)
        status = process.wait(START_SECONDS)
        output.seek(0)
        said = output.read()

    assert status == 1
    assert re.search(r"(fetch|io-0|io-1|clock) does not start\. The end of \S+\.log:\n\n", said)
    assert "Connection refused" in said
    assert said.endswith("Stopping ...\nNothing is running any more.\n")
    assert not (tmp_path / "var" / "valkey").exists()
    assert processes_of(tmp_path / "var") == []
