"""How long the history's pages take for one account with a million generations: python -m benchmarks.history.

Starts the PostgreSQL and the Valkey of the tests, writes the generations, and asks for whole pages through Django, as
a browser without its network does. Prints a table in Markdown.
"""

import statistics
import sys
import time
from datetime import timedelta

import tests.services

ASKED = 7  # times; the very first, which loads the site's code and templates, counts as well
TABLE_HEAD = "| page | generations on it | median | slowest |\n|---|---:|---:|---:|"


def main(rows: int) -> None:
    import django
    from django.core.management import call_command
    from django.test.utils import setup_test_environment

    django.setup()
    setup_test_environment()
    call_command("migrate", verbosity=0)

    from django.utils import timezone

    from benchmarks.million import DAYS, fill
    from generation.history import Cursor
    from tests.sessions import logged_in

    started = time.perf_counter()
    account = fill(rows)
    print(f"{rows:,} generations were written in {time.perf_counter() - started:.0f} s.\n", flush=True)

    def depth(share: float) -> str:
        return str(Cursor(timezone.now() - timedelta(days=DAYS * share), 0))

    key = account.api_keys.get(name="app").pk
    week = (
        f"since={timezone.now() - timedelta(days=107):%Y-%m-%d}&until={timezone.now() - timedelta(days=100):%Y-%m-%d}"
    )
    pages = {
        "first page": "",
        "first page as a table": "view=table",
        "after half of all rows": f"after={depth(0.5)}",
        "after 99 % of all rows": f"after={depth(0.99)}",
        "status: failed": "status=failed",
        "kind: repainted": "mode=inpaint",
        "model": "model=sd-turbo",
        "API key": f"api_key={key}",
        "a week": week,
        "only with blanked images": "blanked=on",
        "failed, of one key, after half": f"status=failed&api_key={key}&after={depth(0.5)}",
        "a common word": "words=word1",
        "a rare word": "words=word4321",
        "two words": "words=word12+word345",
        "a word of the oldest tenth": "words=ancient",
        "no such word": "words=nonesuch",
    }
    browser = logged_in(account)
    print(TABLE_HEAD)
    for name, query in pages.items():
        took = []
        for _ in range(ASKED):
            started = time.perf_counter()
            reply = browser.get(f"/history/?{query}")
            took.append(1000 * (time.perf_counter() - started))
            assert reply.status_code == 200, query
        found = len(reply.context["page"].generations)
        print(f"| {name} | {found} | {statistics.median(took):.0f} ms | {max(took):.0f} ms |", flush=True)


if __name__ == "__main__":
    import os

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
    finally:
        tests.services.pytest_unconfigure()
