"""Zip files of limited size, in the private storage: an account may hold more than a disk has room for."""

import json
import uuid
import zipfile
from collections.abc import Iterable
from contextlib import AbstractContextManager
from datetime import datetime
from tempfile import TemporaryFile
from typing import IO, Any

from django.core.files.base import File
from django.core.files.storage import storages
from django.core.serializers.json import DjangoJSONEncoder

from config import debris

FOLDER = "exports"
PART_BYTES = 512 * 1024 * 1024  # a part is closed when it is larger


class Parcel(AbstractContextManager["Parcel"]):
    """Takes files and keeps them as zip files; what was kept is removed again if the `with` block fails."""

    def __init__(self) -> None:
        self.parts: list[dict[str, Any]] = []
        self.open()

    def open(self) -> None:
        self.file: IO[bytes] = TemporaryFile()  # noqa: SIM115  (closed by keep)
        self.archive = zipfile.ZipFile(self.file, "w", zipfile.ZIP_DEFLATED)

    def add_lines(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        """Add a file with one JSON object a line."""
        with self.archive.open(name, "w", force_zip64=True) as lines:
            for row in rows:
                lines.write(json.dumps(row, cls=DjangoJSONEncoder, ensure_ascii=False).encode() + b"\n")
        self.next_part_if_full()

    def add(self, name: str, data: bytes) -> None:
        self.archive.writestr(name, data, zipfile.ZIP_STORED)  # images are compressed
        self.next_part_if_full()

    def next_part_if_full(self) -> None:
        if self.file.tell() > PART_BYTES:
            self.keep()
            self.open()

    def keep(self) -> None:
        self.archive.close()
        size = self.file.tell()
        self.file.seek(0)
        with self.file:
            name = storages["inputs"].save(f"{FOLDER}/{uuid.uuid4()}.zip", File(self.file))
        self.parts.append({"name": name, "bytes": size})

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.keep()
            return
        self.archive.close()
        self.file.close()
        remove(self.parts)


def remove(parts: Iterable[dict[str, Any]]) -> None:
    for part in parts:
        storages["inputs"].delete(part["name"])


def remove_unknown(known: set[str], before: datetime) -> None:
    """Remove the files of before whose names are not among the known, as a worker leaves them that is killed."""
    stored = (f"{FOLDER}/{name}" for name in debris.names(storages["inputs"], FOLDER))
    debris.remove(storages["inputs"], (name for name in stored if name not in known), before)
