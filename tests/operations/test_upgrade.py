"""docs/operations.md, "Upgrade": the site goes on answering while the database is migrated."""

import pytest
from django.db import connection, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.test.utils import CaptureQueriesContext

from config.indexes import AddIndexBesideWrites

INDEX = models.Index(fields=["message"], name="messages")


def add(operation: AddIndexBesideWrites, state: ProjectState) -> list[str]:
    """Do what `migrate` does, and return the statements."""
    with CaptureQueriesContext(connection) as made, connection.schema_editor(atomic=False) as editor:
        operation.database_forwards("generation", editor, state, state)
    return [query["sql"] for query in made]


@pytest.mark.django_db(transaction=True)
def test_an_index_is_added_without_keeping_writers_waiting_and_again_after_a_run_that_was_cut_off() -> None:
    state, operation = MigrationLoader(connection).project_state(), AddIndexBesideWrites("generation", INDEX)

    first, second = add(operation, state), add(operation, state)
    with connection.schema_editor(atomic=False) as editor:
        operation.database_backwards("generation", editor, state, state)

    assert (
        first
        == second
        == [
            'DROP INDEX CONCURRENTLY IF EXISTS "messages"',
            'CREATE INDEX CONCURRENTLY "messages" ON "generation_generation" ("message")',
        ]
    )
    with connection.cursor() as cursor:
        assert "messages" not in connection.introspection.get_constraints(cursor, "generation_generation")
