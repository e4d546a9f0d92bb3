"""How PostgreSQL would find the rows of a large table."""

from collections.abc import Callable

from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext


def plans(call: Callable[[], object]) -> str:
    """Return the plans of all that `call` asks of the database, made as if it were dear to read a whole table."""
    with CaptureQueriesContext(connection) as asked:
        call()
    statements = [query["sql"] for query in asked if query["sql"].startswith(("SELECT", "DELETE", "UPDATE"))]
    lines: list[str] = []
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        for statement in statements:
            cursor.execute(f"EXPLAIN {statement}")
            lines += [line for (line,) in cursor.fetchall()]
    return "\n".join(lines)
