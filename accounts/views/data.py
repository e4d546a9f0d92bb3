"""The pages about what the site holds of an account: take it along, or have it erased."""

from collections.abc import AsyncIterator
from functools import partial

from allauth.account.decorators import reauthentication_required
from asgiref.sync import sync_to_async
from django.contrib import messages
from django.contrib.auth import logout
from django.core.files.storage import storages
from django.http import FileResponse, Http404, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import closing, exports
from accounts.forms import ClosingForm
from accounts.holdings import farewells
from accounts.models import Export, User
from accounts.requests import UserRequest
from config.login import login_required
from config.streaming import request_stream

PIECE_BYTES = 1024 * 1024


@login_required
@require_safe
def index(request: UserRequest) -> HttpResponse:
    """Show the last export, and the way out."""
    return render(request, "accounts/data/index.html", {"export": last_export(request.user)})


@login_required
@require_POST
def export(request: UserRequest) -> HttpResponse:
    """Begin an export, unless one is being made."""
    begun = exports.request(request.user)
    if request.htmx:
        return render(request, "accounts/data/_export.html", {"export": begun})
    return redirect("data")


@login_required
@require_safe
def progress(request: UserRequest, pk: int) -> HttpResponse:
    """Show how far an export is; the page asks again and again."""
    found = get_object_or_404(request.user.exports, pk=pk)
    if not request.htmx:
        return redirect("data")
    return render(request, "accounts/data/_export.html", {"export": found})


@login_required
@require_safe
def download(request: UserRequest, pk: int, number: int) -> HttpResponseBase:
    """Send one part of a finished export, to its owner only."""
    found = get_object_or_404(request.user.exports, pk=pk)
    if not found.is_ready or not 1 <= number <= len(found.parts):
        raise Http404
    return send(request, found, number)


@reauthentication_required
def send(request: UserRequest, found: Export, number: int) -> HttpResponseBase:
    name = f"atelier-{found.created_at:%Y-%m-%d}" + (f"-{number}" if len(found.parts) > 1 else "") + ".zip"
    part = found.parts[number - 1]["name"]
    if not storages["inputs"].exists(part):  # nothing can be said any more once the answer has begun
        messages.error(request, "This file is no longer stored. Pack everything again.")
        return redirect("data")
    if request.method == "GET" and request_stream(request, partial(pieces, part)):
        disposition = {"Content-Disposition": content_disposition_header(True, name)}
        return HttpResponse(content_type="application/zip", headers=disposition)
    file = storages["inputs"].open(part)
    return FileResponse(file, as_attachment=True, filename=name, content_type="application/zip")


async def pieces(name: str) -> AsyncIterator[bytes]:
    """Yield a file of the private storage, a piece at a time."""
    file = await sync_to_async(storages["inputs"].open, thread_sensitive=False)(name)
    read = sync_to_async(file.read, thread_sensitive=False)
    with file:
        while piece := await read(PIECE_BYTES):
            yield piece


@login_required
@reauthentication_required
@require_http_methods(["GET", "HEAD", "POST"])
def close(request: UserRequest) -> HttpResponse:
    """Say what becomes of everything, and close the account of somebody who means it."""
    if request.user.is_staff:
        messages.error(
            request, "Your account has rights over others. Ask another member of staff to take them away first."
        )
        return redirect("data")
    form = ClosingForm(request.user, request.POST or None)
    if not form.is_valid():
        return render(request, "accounts/data/close.html", {"form": form, "farewells": farewells})
    closing.close(request.user)
    logout(request)
    return render(request, "accounts/data/closed.html")


def last_export(user: User) -> Export | None:
    return user.exports.order_by("-pk").first()
