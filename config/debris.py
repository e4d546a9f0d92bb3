"""Removes files that nobody knows of, as processes leave them that die at work."""

import logging
from collections.abc import Iterable
from datetime import datetime

from django.core.files.storage import Storage

logger = logging.getLogger(__name__)


def names(storage: Storage, folder: str) -> list[str]:
    """Return the names of the files in a folder of the storage; there are none where nothing was ever stored."""
    try:
        return list(storage.listdir(folder)[1])
    except FileNotFoundError:
        return []


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
