"""/billing/history/: every movement of credits, with its cause."""

import csv
from collections.abc import AsyncIterator
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from billing import history
from billing.history import Month
from billing.views.doors import Visit, page
from billing.views.waiting import number

COLUMNS = ("time", "kind", "credits", "held_credits", "owed_credits", "cause", "note")


@require_GET
@page
def entries(request: Visit) -> HttpResponse:
    """Show entries, newest first; `before` continues the list."""
    month = Month.parse(request.GET.get("month", ""))
    before = number(request.GET.get("before"))
    rows, next_before = history.page(request.user.pk, month, before or None)
    context = {
        "rows": rows,
        "next_before": next_before,
        "month": month,
        "months": history.months(request.user.pk, timezone.now()),
    }
    return render(request, "billing/_entries.html" if request.htmx else "billing/entries.html", context)


@require_GET
@page
def entries_csv(request: Visit) -> StreamingHttpResponse:
    """Send entries as a file, oldest first."""
    month = Month.parse(request.GET.get("month", ""))
    name = f"credits-{month}.csv" if month else "credits.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(lines(request.user.pk, month), content_type="text/csv; charset=utf-8", headers=headers)


class Echo:
    """Gives back what is written to it."""

    def write(self, line: str) -> str:
        return line


async def lines(user_id: int, month: Month | None) -> AsyncIterator[str]:
    writer = csv.writer(Echo())
    yield writer.writerow(COLUMNS)
    async for entry in history.entries(user_id, month).order_by("id").aiterator(chunk_size=1000):
        yield writer.writerow(
            [
                entry.created_at.isoformat(),
                entry.kind,
                entry.credits,
                entry.held_credits,
                entry.owed_credits,
                harmless(entry.cause),
                harmless(entry.note),
            ]
        )


def harmless(text: Any) -> str:
    """Return the text so that no spreadsheet takes it for a formula."""
    return f"'{text}" if str(text).startswith(("=", "+", "-", "@", "\t", "\r")) else str(text)
