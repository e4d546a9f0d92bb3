"""What the site holds of an account, for its owner: every app says here how to list and how to erase its own.

The apps register when the site starts (`AppConfig.ready`), so accounts need not know what is sold.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Model, QuerySet

from accounts.models import User


class NotYet(Exception):
    """Something is still in use, and is erased when it is tried again."""


@dataclass(frozen=True)
class File:
    """One file that belongs to a row."""

    name: str  # in the export
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Holding:
    """One kind of rows."""

    name: str  # of its file in the export, without the ending
    rows: Callable[[User], QuerySet[Any]]
    hidden: frozenset[str] = frozenset()  # columns that stay here: digests and secrets
    files: Callable[[Any], Iterable[File]] | None = None  # of one row

    def row(self, instance: Model) -> dict[str, Any]:
        """Return every column but the hidden ones, by name."""
        fields = (field for field in instance._meta.concrete_fields if field.attname not in self.hidden)
        return {field.attname: field.value_from_object(instance) for field in fields}


@dataclass(frozen=True)
class Farewell:
    """What becomes of an app's part when an account is closed."""

    words: str  # for the owner, before the decision
    erase: Callable[[User], None]  # doing it twice does no harm; an exception: it is tried again


holdings: list[Holding] = []
farewells: list[Farewell] = []
