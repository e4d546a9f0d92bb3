"""How long the history and a fetch take, however many generations there are: python -m benchmarks.rows 10000 10000000.

For each size it writes so many generations of one account, with their entries in the ledger, into the PostgreSQL of the
tests, and asks for whole pages of the history, for single generations and for reports, through Django, as a browser or
a program without its network does. Time and disk grow with the rows: ten million take ten times those of a million.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any

from benchmarks.report import Table, publish
from benchmarks.site import database

FETCHES = 50  # different generations


def pages(key: int) -> dict[str, str]:
    """Return the history's pages that are asked for, as name → query."""
    from django.utils import timezone

    from benchmarks.many import DAYS
    from generation.history import Cursor

    def depth(share: float) -> str:
        return str(Cursor(timezone.now() - timedelta(days=DAYS * share), 0))

    days_ago = [timezone.now() - timedelta(days=days) for days in (107, 100)]
    return {
        "first page": "",
        "first page as a table": "view=table",
        "after half of all rows": f"after={depth(0.5)}",
        "after 99 % of all rows": f"after={depth(0.99)}",
        "status: failed": "status=failed",
        "kind: repainted": "mode=inpaint",
        "model": "model=sd-turbo",
        "API key": f"api_key={key}",
        "a week": "since={:%Y-%m-%d}&until={:%Y-%m-%d}".format(*days_ago),
        "only with blanked images": "blanked=on",
        "failed, of one key, after half": f"status=failed&api_key={key}&after={depth(0.5)}",
        "a common word": "words=word1",
        "a rare word": "words=word4321",
        "two words": "words=word12+word345",
        "a word of the oldest tenth": "words=ancient",
        "no such word": "words=nonesuch",
    }


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return how many milliseconds a request took, and its reply."""
    begun = time.perf_counter()
    reply = call()
    milliseconds = 1000 * (time.perf_counter() - begun)
    assert reply.status_code == 200, reply.content
    return milliseconds, reply


def measured(account: Any, key: str, times: int) -> dict[str, tuple[float, float, int]]:
    """Return the median and the slowest of each thing asked so often, and how many generations it showed."""
    from django.db.models import Max, Min
    from django.test import Client
    from django.utils import timezone

    from accounts.models import User
    from generation.models import Generation
    from tests.sessions import logged_in

    browser, program = logged_in(account), Client()
    found = {}
    for name, query in pages(account.api_keys.get(name="app").pk).items():
        browser.get(f"/history/?{query}")
        took = [timed(lambda query=query: browser.get(f"/history/?{query}")) for _ in range(times)]
        shown = len(took[0][1].context["page"].generations)
        found[f"history: {name}"] = summed_up([milliseconds for milliseconds, _ in took], shown)
    ends = Generation.objects.aggregate(first=Min("pk"), last=Max("pk"))
    pks = range(ends["first"], ends["last"])
    luck = Random(7)
    body = json.dumps({"key": key})

    def fetch() -> Any:
        return program.post(f"/api/v3/fetch/{luck.choice(pks)}", body, content_type="application/json")

    def ask(path: str) -> Any:
        return program.post(f"/api/v3/{path}", body, content_type="application/json")

    for name, call, count in (
        ("API: fetch", fetch, FETCHES),
        ("API: account", lambda: ask("account"), times),
        ("API: events", lambda: ask("events"), times),
    ):
        call()
        found[name] = summed_up([timed(call)[0] for _ in range(count)], 1)
    long_ago = timezone.now() - timedelta(days=200)
    staff = logged_in(User.objects.create_superuser(f"staff-{account.pk}@example.org", "correct horse"))
    for name, client, path in (
        ("usage", browser, "/usage/"),
        ("credits", browser, "/billing/"),
        ("credits: history", browser, "/billing/history/"),
        ("credits: history of a month", browser, f"/billing/history/?month={long_ago:%Y-%m}"),
        ("admin: numbers of the day", staff, "/admin/"),
        ("admin: generations", staff, "/admin/generation/generation/"),
        ("admin: entries", staff, "/admin/billing/entry/"),
        ("admin: a cause", staff, f"/admin/billing/entry/?q=generation:{ends['last']}"),
        ("admin: models", staff, "/admin/models/"),
        ("admin: an account", staff, f"/admin/accounts/user/{account.pk}/change/"),
        ("metrics", program, "/metrics"),
    ):
        client.get(path)
        found[name] = summed_up([timed(lambda client=client, path=path: client.get(path))[0] for _ in range(times)], 1)
    return found


def summed_up(took: list[float], shown: int) -> tuple[float, float, int]:
    return statistics.median(took), max(took), shown


def table(of_size: dict[int, dict[str, tuple[float, float, int]]]) -> Table:
    """Return what was shown and the medians by size, and how many times those of the first size the last ones are."""
    sizes = [*of_size]
    columns = [
        "asked",
        *(f"{size:,} rows: {what}" for size in sizes for what in ("shown", "median, ms")),
        "slowest, ms",
    ]
    if len(sizes) > 1:
        columns.append(f"{sizes[-1]:,} / {sizes[0]:,}")
    rows: list[list[Any]] = []
    for name, (last, slowest, _) in of_size[sizes[-1]].items():
        first = of_size[sizes[0]][name][0]
        seen = [value for size in sizes for value in (of_size[size][name][2], of_size[size][name][0])]
        rows.append([name, *seen, slowest, *([last / first] if len(sizes) > 1 else [])])
    return Table("History and fetch by the number of generations", columns, rows)


def bytes_a_row() -> float:
    """Return what a generation takes on the database's disk, its part of all indexes included."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_total_relation_size('generation_generation')::float / count(*) FROM generation_generation"
        )
        return float(cursor.fetchone()[0])


def main() -> None:
    """Write, measure and publish."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rows", description=__doc__)
    parser.add_argument("rows", type=int, nargs="*", default=[10_000, 1_000_000], help="one or several sizes")
    parser.add_argument("--times", type=int, default=15, help="that each page is asked for, after a first time")
    asked = parser.parse_args()
    of_size, disk = {}, Table("On the database's disk", ("generations", "bytes for each, indexes included"))
    with database():
        from benchmarks.many import empty, fill
        from generation import usage

        for rows in asked.rows:
            empty()
            begun = time.perf_counter()
            account, key = fill(rows)
            while usage.sum_up():  # as the clock does every day
                pass
            print(f"{rows:,} generations were written in {time.perf_counter() - begun:.0f} s.", flush=True)
            disk.rows.append([rows, bytes_a_row()])
            of_size[rows] = measured(account, key, asked.times)
        publish("rows", [table(of_size), disk], rows=asked.rows)


if __name__ == "__main__":
    main()
