"""Removes files that nobody knows of, as processes leave them that die at work."""

import logging
import os
import posixpath
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from django.core.files.storage import FileSystemStorage, Storage

logger = logging.getLogger(__name__)


def names(storage: Storage, folder: str) -> Iterator[str]:
    """Yield the names of the files in a folder of the storage, of which there may be millions.

    There are none where nothing was ever stored.
    """
    return in_folder(storage.path(folder)) if isinstance(storage, FileSystemStorage) else in_bucket(storage, folder)


def in_folder(path: str) -> Iterator[str]:
    if os.path.exists(path):
        with os.scandir(path) as entries:
            yield from (entry.name for entry in entries if entry.is_file())


def in_bucket(storage: Any, folder: str) -> Iterator[str]:
    prefix = posixpath.join(storage.location, folder, "")
    listing = storage.connection.meta.client.get_paginator("list_objects_v2")
    for page in listing.paginate(Bucket=storage.bucket_name, Prefix=prefix, Delimiter="/"):
        yield from (entry["Key"].removeprefix(prefix) for entry in page.get("Contents", ()))


def remove(storage: Storage, files: Iterable[str], before: datetime) -> int:
    """Remove those of the files that were stored before, and return how many; what is refused is left alone."""
    removed = 0
    for name in files:
        try:
            if storage.get_modified_time(name) < before:
                storage.delete(name)
                removed += 1
        except Exception as error:  # it may be gone already, which each storage library says in its own way
            logger.warning("%s was not removed: %s", name, error)
    return removed
