"""Statements in SQL: the few that every request or generation takes.

Django composes a statement anew each time, which takes several times as long as the database needs to answer. These are
written already, where they belong; all others are left to Django.
"""

from collections.abc import Iterable
from typing import Any, TypeVar

from django.db import connection
from django.db.models import Model

Row = TypeVar("Row", bound=Model)


def rows(statement: str, *arguments: Any) -> list[tuple[Any, ...]]:
    """Return what a query answers."""
    with connection.cursor() as cursor:
        cursor.execute(statement, adapted(arguments))
        return cursor.fetchall()


def row(model: type[Row], statement: str, *arguments: Any) -> Row | None:
    """Return the first row that a statement answers, of all the model's columns; None where it answers none."""
    return next(iter(model._default_manager.raw(statement, arguments)), None)


def write(statement: str, *arguments: Any) -> int:
    """Return how many rows a statement wrote."""
    with connection.cursor() as cursor:
        cursor.execute(statement, adapted(arguments))
        return cursor.rowcount


def adapted(arguments: Iterable[Any]) -> list[Any]:
    """Return the arguments as the database takes them: SQLite keeps instants as text of its own form."""
    return [connection.ops.adapt_unknown_value(argument) for argument in arguments]


def locking(table: str) -> str:
    """Return what ends a query that locks the rows of `table` it finds, as select_for_update(no_key=True) would."""
    return f" FOR NO KEY UPDATE OF {table}" if connection.features.has_select_for_update else ""
