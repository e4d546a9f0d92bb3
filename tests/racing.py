"""Threads that start at the same instant, for tests of money, claims and quotas."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from django.db import connection

T = TypeVar("T")


def race(threads: int, work: Callable[[int], T]) -> list[T | Exception]:
    """Run `work(0)` to `work(threads - 1)` at once, each on a database connection of its own.

    Returns what each one returned or raised, in order. Needs `django_db(transaction=True)`.
    """
    start = Barrier(threads)

    def run(k: int) -> T | Exception:
        try:
            connection.ensure_connection()  # connecting takes longer than the work
            start.wait()
            return work(k)
        except Exception as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))
