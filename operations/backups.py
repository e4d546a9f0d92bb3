"""Copies the whole site into a folder and back: the database as one file, and the files of a folder storage.

The database goes first: a file is there before the row that tells of it, so every row of the copy has its files. Redis
holds nothing that could be lost, and a bucket is backed up where it lives.

Over an older backup, the new dump takes a name beside the old one, and files are only added. So the old backup is whole
until its manifest, which names the dump, is replaced in one step, and from then on the new one is.
"""

import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from accounts.models import User

MANIFEST = "manifest.json"
DUMPS = {  # two names each: a backup takes the one that the backup before it does not have
    "postgresql": ("database.dump", "database-2.dump"),
    "sqlite": ("database.sqlite3", "database-2.sqlite3"),
}

VARIABLES = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "options": "PGOPTIONS",  # such as a search_path
}

# A dump drops only what it knows of: a table that came after it would hinder that, or the migration that makes it anew.
# The schema stays, with its grants and the tables of extensions.
EMPTY = """
BEGIN;
SET LOCAL client_min_messages = error;
DO $$
DECLARE
    names text := (
        SELECT string_agg(oid::regclass::text, ', ') FROM pg_class
        WHERE relkind IN ('r', 'p')
        AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('django_migrations'))
        AND oid NOT IN (SELECT objid FROM pg_depend WHERE classid = 'pg_class'::regclass AND deptype = 'e')
    );
BEGIN
    IF names IS NOT NULL THEN
        EXECUTE 'DROP TABLE ' || names || ' CASCADE';
    END IF;
END
$$;
"""


class BackupRefused(Exception):
    """Says what to change; nothing was changed by us, unless it says so."""


def back_up(folder: Path) -> dict[str, Any]:
    """Write a backup into a folder, anew or over an older one, whose files are kept; return its manifest.

    Raises:
        BackupRefused: an older backup is as it was.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with claimed(folder):
            return replace(folder)
    except (OSError, sqlite3.Error) as error:
        raise BackupRefused(f"The backup could not be written: {error}") from error


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep other backups out of the folder."""
    with open(folder / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupRefused(f"Another backup is being written into {folder}.") from None
        yield


def replace(folder: Path) -> dict[str, Any]:
    migrations = applied_migrations()
    if not migrations:
        raise BackupRefused("The database is empty: give this command the DATABASE_URL and VAR_DIR that the site has.")
    dump = folder / next(name for name in DUMPS[connection.vendor] if name != dump_in_use(folder))
    part = folder / f"{MANIFEST}.part"
    try:
        write_dump(dump)
        files = {name: copy_new(source, folder / name) for name, source in storage_folders()}
        manifest = {
            "at": timezone.now().isoformat(),
            "database": dump.name,
            "sha256": digest(dump),
            "migrations": migrations,
            "files": files,
        }
        part.write_text(json.dumps(manifest, indent=1))
    except BaseException:
        for unfinished in (dump, part):
            unfinished.unlink(missing_ok=True)
        raise
    os.sync()  # a power cut must not keep the manifest and lose what it tells of
    part.replace(folder / MANIFEST)
    os.sync()  # nor bring the older manifest back when its dump is gone
    for name in chain.from_iterable(DUMPS.values()):
        if name != dump.name:
            (folder / name).unlink(missing_ok=True)
    return manifest


def dump_in_use(folder: Path) -> str:
    """Return the name of the dump that a restore would take; empty where the folder holds no whole backup."""
    try:
        return str(read_manifest(folder)["database"])
    except BackupRefused:
        return ""


def restore(folder: Path, overwrite: bool = False) -> dict[str, Any]:
    """Put a backup in the place of the site's database and add its files; return its manifest.

    Raises:
        BackupRefused: there is no whole backup, it is of another kind of database, or accounts would be lost.
    """
    manifest = read_manifest(folder)
    dump = folder / manifest["database"]
    if manifest["database"] not in DUMPS[connection.vendor]:
        raise BackupRefused(f"The backup holds {dump.name}, and this site's database is {connection.vendor}.")
    if not dump.is_file() or digest(dump) != manifest["sha256"]:
        raise BackupRefused(f"{dump} was changed or cut off since the backup was made, or is gone.")
    if not overwrite and has_accounts():
        raise BackupRefused("The database holds accounts; --overwrite replaces them.")
    restore_postgresql(dump) if connection.vendor == "postgresql" else restore_sqlite(dump)
    try:
        for name, target in storage_folders():
            copy_new(folder / name, target)
    except OSError as error:
        raise BackupRefused(
            f"The database is restored, but not all files: {error}. Repeat it with --overwrite."
        ) from error
    call_command("migrate", verbosity=0)
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        return {name: manifest[name] for name in ("at", "database", "sha256")}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BackupRefused(f"{folder} holds no whole backup: {MANIFEST} can't be read.") from error


def has_accounts() -> bool:
    return User._meta.db_table in connection.introspection.table_names() and User.objects.exists()


def applied_migrations() -> int:
    return len(MigrationExecutor(connection).loader.applied_migrations)


def write_dump(dump: Path) -> None:
    """Write the database into a file that nobody else reads."""
    dump.unlink(missing_ok=True)
    dump.touch(mode=0o600)
    dump_postgresql(dump) if connection.vendor == "postgresql" else dump_sqlite(dump)


def dump_postgresql(dump: Path) -> None:
    command = [installed("pg_dump"), "--format=custom", "--no-owner", "--no-privileges", f"--file={dump}"]
    run = subprocess.run(command, env=environment(), capture_output=True, text=True)  # noqa: S603
    if run.returncode:
        raise BackupRefused(f"pg_dump failed: {run.stderr.strip()}")


def restore_postgresql(dump: Path) -> None:
    """Put a dump in the place of the site's tables, in one transaction.

    pg_restore writes COMMIT when it has read the whole dump; where psql's input ends before, the server rolls back.
    """
    options = ("--clean", "--if-exists", "--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error")
    read = [installed("pg_restore"), *options, "--file=-", str(dump)]
    write = [installed("psql"), "--no-psqlrc", "--set=ON_ERROR_STOP=1", f"--command={EMPTY}", "--file=-"]
    connection.close()
    with tempfile.TemporaryFile("w+", errors="replace") as complaints:
        with subprocess.Popen(  # noqa: S603
            write, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=complaints
        ) as writer:
            reader = subprocess.run(read, stdout=writer.stdin, stderr=complaints)  # noqa: S603
        complaints.seek(0)
        if reader.returncode or writer.returncode:
            raise BackupRefused(f"The database was not replaced: {complaints.read().strip()}")


def installed(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise BackupRefused(f"{program} is not installed: it comes with PostgreSQL's client programs.")
    return path


def environment() -> dict[str, str]:
    """Tell PostgreSQL's programs where the site's database is; the password is in no argument, which all can see."""
    parameters = connection.get_connection_params()  # also what stands behind the question mark of DATABASE_URL
    known = {name: parameters[key] for key, name in VARIABLES.items() if parameters.get(key)}
    return os.environ | {name: str(value) for name, value in known.items()}


def dump_sqlite(dump: Path) -> None:
    with (
        closing(sqlite3.connect(settings.DATABASES["default"]["NAME"])) as live,
        closing(sqlite3.connect(dump)) as copy,
    ):
        live.backup(copy)


def restore_sqlite(dump: Path) -> None:
    connection.close()
    with (
        closing(sqlite3.connect(dump)) as copy,
        closing(sqlite3.connect(settings.DATABASES["default"]["NAME"])) as live,
    ):
        try:
            copy.backup(live)
        except sqlite3.Error as error:
            raise BackupRefused(f"The database was not replaced: {error}") from error


def storage_folders() -> Iterator[tuple[str, Path]]:
    """Yield the folders in which files are kept, by their names in the backup; none where a bucket keeps them."""
    for alias, name in (("default", "media"), ("inputs", "inputs")):
        options = settings.STORAGES[alias]["OPTIONS"]
        if settings.STORAGES[alias]["BACKEND"] == "config.storage.FolderStorage":
            yield name, Path(options["location"])


def copy_new(source: Path, target: Path) -> int:
    """Copy the files that the target lacks, which are all that can differ: none ever changes; return how many."""
    copied = 0
    for file in sorted(source.rglob("*")) if source.exists() else []:
        copy = target / file.relative_to(source)
        if not file.is_file() or copy.exists() or file.suffix == ".part":
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        part = copy.with_name(copy.name + ".part")
        try:
            shutil.copy2(file, part)
        except FileNotFoundError:  # it expired meanwhile
            continue
        part.replace(copy)
        copied += 1
    return copied


def digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
