"""Dockerfile, compose.yaml and the systemd units run what `make run` runs, as far as can be told from outside."""

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from config import env
from config.processes import programs

REPOSITORY = Path(__file__).parents[2]
UNITS = {path.name: path for path in (REPOSITORY / "deploy" / "systemd").iterdir()}
COMPOSE = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
PG_DUMPS = {"bookworm": 15, "trixie": 17}  # PostgreSQL's version in each Debian


def words(command: str | list[str]) -> list[str]:
    """Return what a command does, without the interpreter and where a web process listens, in one order."""
    parts = shlex.split(command) if isinstance(command, str) else list(command)
    for name in ("--host", "--port"):
        if name in parts:
            k = parts.index(name)
            del parts[k : k + 2]
    return sorted(parts[1:])


def docker_command(target: str) -> list[str]:
    stage = DOCKERFILE.partition(f" AS {target}\n")[2]
    line = stage.partition("\nCMD ")[2].replace("\\\n", " ").partition("\n")[0]
    return list(yaml.safe_load(line))


@pytest.mark.parametrize("program", programs("127.0.0.1"), ids=lambda program: program.name)
def test_every_process_runs_everywhere_with_the_same_command(program: Any) -> None:
    expected = words(program.command)
    service = COMPOSE["services"][program.name]
    unit = (UNITS.get(f"atelier-{program.name}.service") or UNITS[f"atelier-{program.name}@.service"]).read_text()
    started = unit.partition("ExecStart=")[2].partition("\n")[0]

    assert words(service.get("command") or docker_command(service["build"]["target"])) == expected
    assert words(started) == expected
    assert f"TimeoutStopSec={max(program.stop_seconds, 5)}" in unit


def test_a_worker_is_for_links_and_sweeps_alone() -> None:
    """Exports and closings of large accounts may take hours, and hold every worker that does them."""
    queues = {program.name: set(words(program.command)) & {"gpu", "fetch", "io"} for program in programs("127.0.0.1")}

    assert (queues["fetch"], queues["io"]) == ({"fetch"}, {"fetch", "io"})


def test_systemd_starts_every_process() -> None:
    wanted = UNITS["atelier.target"].read_text()

    assert [program.name for program in programs("127.0.0.1") if f"atelier-{program.name}" not in wanted] == []


@pytest.mark.parametrize("name", [name for name in UNITS if name.endswith(".service")])
def test_every_unit_writes_where_it_may(name: str) -> None:
    lines = UNITS[name].read_text().splitlines()

    assert "ProtectSystem=strict" in lines
    assert "StateDirectory=atelier" in lines
    assert "Environment=VAR_DIR=/var/lib/atelier" in lines


def test_every_setting_that_compose_names_exists() -> None:
    known = (REPOSITORY / ".env.example").read_text()

    assert [name for name in COMPOSE["x-site"]["environment"] if f"#{name}=" not in known] == []


def test_the_image_can_dump_the_database_of_compose() -> None:
    debian = DOCKERFILE.partition("FROM python:")[2].split()[0].rpartition("-")[2]
    server = int(COMPOSE["services"]["postgres"]["image"].partition(":")[2])

    assert PG_DUMPS[debian] >= server


def test_what_starts_waits_for_what_it_needs() -> None:
    services = COMPOSE["services"]
    for name, service in services.items():
        for other, condition in service.get("depends_on", {}).items():
            healthy = condition["condition"] == "service_healthy"
            assert other in services, (name, other)
            assert not healthy or "healthcheck" in services[other], (name, other)


def test_only_what_serves_is_asked_whether_it_lives() -> None:
    ours = {name: service for name, service in COMPOSE["services"].items() if "build" in service}

    assert [name for name, service in ours.items() if "healthcheck" in service] == ["web"]
    assert "\nHEALTHCHECK" not in DOCKERFILE


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    for name, path in UNITS.items():
        text = path.read_text().replace("/srv/atelier/.venv/bin/python", "/bin/true").replace("User=atelier\n", "")
        (tmp_path / name.replace("@.", "@1.")).write_text(text)
    files = [str(file) for file in tmp_path.glob("*.service")]

    run = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True)

    complaints = [line for line in run.stderr.splitlines() if "atelier" in line and "Failed to create" not in line]
    assert complaints == []


def test_an_empty_number_of_days_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_DAYS", "")
    assert env.days("SOME_DAYS") is None
    monkeypatch.setenv("SOME_DAYS", "0")
    assert env.days("SOME_DAYS") == 0
    monkeypatch.setenv("SOME_DAYS", "-1")
    with pytest.raises(env.BadSetting):
        env.days("SOME_DAYS")
