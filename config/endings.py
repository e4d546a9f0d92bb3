"""Ends a process with a sentence where its operator can mend what is wrong; --traceback shows where it comes from."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import OperationalError, ProgrammingError
from redis import RedisError

from config.env import BadSetting
from config.logs import without_secrets

NO_TABLE_OR_COLUMN = {"42P01", "42703"}  # as PostgreSQL calls them; to SQLite they are operational errors


@contextmanager
def in_words() -> Iterator[None]:
    """End the process with status 1 and a sentence when a setting, the database or Redis can't be used."""
    try:
        yield
    except (BadSetting, OperationalError, ProgrammingError, RedisError) as error:
        words = said(error)
        if not words or "--traceback" in sys.argv:
            raise
        sys.exit(words)


def said(error: Exception) -> str:
    """Return what to tell; nothing where it is a fault of ours."""
    if isinstance(error, BadSetting):
        return str(error)
    if isinstance(error, RedisError):
        return f"Redis can't be used: {without_secrets(str(error))}\nREDIS_URL says where it is."
    if isinstance(error, OperationalError) or getattr(error.__cause__, "sqlstate", "") in NO_TABLE_OR_COLUMN:
        return (
            f"The database can't be used: {error}\nDATABASE_URL says where it is; manage.py migrate brings its tables."
        )
    return ""
