"""Commands that can't go on say what to change, in a sentence and not in a traceback."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.services import free_port

ROOT = Path(__file__).resolve().parent.parent.parent


def run(var_dir: Path, *args: str, **environment: str) -> tuple[int, str]:
    environment = {**os.environ, "VAR_DIR": str(var_dir), **environment}
    done = subprocess.run([sys.executable, *args], cwd=ROOT, env=environment, capture_output=True, text=True)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"PORT": "abc"}, "PORT must be a whole number, not 'abc'."),
        ({"DATABASE_URL": "nonsense"}, "DATABASE_URL must look like postgres://USER:PASSWORD@HOST/NAME."),
        ({"REDIS_URL": "nonsense"}, "REDIS_URL must look like redis://HOST:6379/0."),
        (
            {"LOG_LEVEL": "loud"},
            "LOG_LEVEL must be DEBUG, INFO, WARNING, ERROR or CRITICAL, not 'LOUD'.",
        ),
        ({"VAR_DIR": "/dev/null/x"}, "VAR_DIR can't be made: Not a directory: /dev/null/x"),
        ({"SECRET_KEY_FILE": "/nowhere"}, "SECRET_KEY_FILE can't be read: No such file or directory: /nowhere"),
    ],
)
def test_a_setting_that_can_not_be_is_named(tmp_path: Path, setting: dict[str, str], words: str) -> None:
    assert run(tmp_path, "manage.py", "check", **setting) == (1, f"{words}\n")


def test_the_web_process_names_it_too(tmp_path: Path) -> None:
    assert run(tmp_path, "-m", "config.serve", PORT="abc") == (1, "PORT must be a whole number, not 'abc'.\n")


@pytest.mark.parametrize("command", ["check_ledger", "create_key", "grant", "backup", "migrate"])
def test_a_database_that_is_away_is_told(tmp_path: Path, command: str) -> None:
    words = {"create_key": ["a@example.org"], "grant": ["a@example.org", "5"], "backup": [str(tmp_path / "backup")]}
    away = f"postgres://atelier:hunter2@127.0.0.1:{free_port()}/atelier"

    status, said = run(tmp_path, "manage.py", command, *words.get(command, []), DATABASE_URL=away)

    assert status == 1
    assert said.startswith("The database can't be used: connection failed: ")
    assert said.endswith("\nDATABASE_URL says where it is; manage.py migrate brings its tables.\n")
    assert "hunter2" not in said
    assert "Traceback" not in said


def test_a_database_without_tables_is_told_on_both(tmp_path: Path) -> None:
    sqlite = run(tmp_path, "manage.py", "check_ledger", DATABASE_URL="")
    postgresql = run(tmp_path, "manage.py", "check_ledger")  # tests have another than the one that is named here

    advice = "\nDATABASE_URL says where it is; manage.py migrate brings its tables.\n"
    assert sqlite == (1, f"The database can't be used: no such table: billing_wallet{advice}")
    assert postgresql[1].startswith('The database can\'t be used: relation "billing_wallet" does not exist')
    assert postgresql[1].endswith(advice)


def test_a_redis_that_is_away_is_told(tmp_path: Path) -> None:
    away = f"redis://:hunter2@127.0.0.1:{free_port()}/0"

    status, said = run(tmp_path, "manage.py", "rqcron", "config.cron", REDIS_URL=away)

    assert status == 1
    assert said.splitlines()[-2].startswith("Redis can't be used: Error 111 connecting to 127.0.0.1:")
    assert said.splitlines()[-1] == "REDIS_URL says where it is."
    assert "Traceback" not in said
    assert "hunter2" not in said


def test_a_traceback_is_shown_to_those_who_ask(tmp_path: Path) -> None:
    status, said = run(tmp_path, "manage.py", "check_ledger", "--traceback", DATABASE_URL="")

    assert status == 1
    assert said.startswith("Traceback")


@pytest.mark.parametrize(
    ("options", "changes", "words"),
    [
        (["--pixels", "100"], {}, "^--pixels must be a multiple of 8, and at least 64.$"),
        ([], {"MODEL": "/nowhere"}, "^MODEL=/nowhere can't be loaded: "),
        ([], {"DEVICE": "warp"}, "/generation/starter can't be loaded: Expected one of cpu, cuda, "),
    ],
)
def test_engine_info_says_what_it_can_not_load(
    settings: Any, options: list[str], changes: dict[str, str], words: str
) -> None:
    for name, value in changes.items():
        setattr(settings, name, value)

    with pytest.raises(CommandError, match=words):  # which Django tells in a sentence
        call_command("engine_info", *options)


def test_demo_wants_an_address(tmp_path: Path) -> None:
    words = "CommandError: A site's address looks like http://127.0.0.1:8000, not nonsense.\n"
    assert run(tmp_path, "manage.py", "demo", "nonsense") == (1, words)
