"""/billing/history/: every movement of credits, with its cause."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from io import StringIO
from typing import Any

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.requests import UserRequest
from billing import history
from billing.history import Month
from billing.models import Entry
from billing.views.doors import page
from billing.views.waiting import number
from config.spreadsheets import harmless
from config.streaming import from_thread, request_stream

COLUMNS = ("time", "kind", "credits", "held_credits", "owed_credits", "cause", "note")
PIECE = 1000  # lines of the file that are in memory at once


@require_safe
@page
def entries(request: UserRequest) -> HttpResponse:
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


@require_safe
@page
def entries_csv(request: UserRequest) -> HttpResponseBase:
    """Send entries as a file, oldest first."""
    month = Month.parse(request.GET.get("month", ""))
    name = f"credits-{month}.csv" if month else "credits.csv"
    kind, headers = "text/csv; charset=utf-8", {"Content-Disposition": f'attachment; filename="{name}"'}
    chunks = pieces(request.user.pk, month)
    if request.method == "HEAD" or request_stream(request, partial(from_thread, chunks)):
        return HttpResponse(content_type=kind, headers=headers)
    return StreamingHttpResponse(chunks, content_type=kind, headers=headers)


def pieces(user_id: int, month: Month | None) -> Iterator[bytes]:
    """Yield the file, a thousand lines a piece, each with a query of its own."""
    yield as_csv([COLUMNS])
    found, last_id = history.entries(user_id, month).order_by("id"), 0
    while rows := list(found.filter(id__gt=last_id)[:PIECE]):
        yield as_csv(map(line, rows))
        last_id = rows[-1].pk


def line(entry: Entry) -> Sequence[Any]:
    return (
        entry.created_at.isoformat(),
        entry.kind,
        entry.credits,
        entry.held_credits,
        entry.owed_credits,
        harmless(entry.cause),
        harmless(entry.note),
    )


def as_csv(lines: Iterable[Sequence[Any]]) -> bytes:
    file = StringIO(newline="")
    csv.writer(file).writerows(lines)
    return file.getvalue().encode()
