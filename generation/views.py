"""The start page, and images from the folder storage."""

import re

from django.core.files.storage import default_storage
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from config.sites import base_url
from config.storage import IMMUTABLE
from generation.samples import samples
from generation.storage import FileLost, read

FIRST_CALL = {"prompt": "a red apple on a blue background"}

# Only what storage.py wrote as a result, under its random name: no other file can be asked for.
RESULT = re.compile(r"generations/[0-9a-f-]{36}-[0-3]\.(png|webp|base64)")
CONTENT_TYPES = {"png": "image/png", "webp": "image/webp", "base64": "text/plain"}


def home(request: HttpRequest) -> HttpResponse:
    """Show what this site is, or lead people who know it to the playground."""
    if request.user.is_authenticated:
        return redirect("playground")
    base = base_url(request)
    return render(request, "home.html", {"base_url": base, "samples": samples(base, "text2img", FIRST_CALL)})


def media(request: HttpRequest, name: str) -> HttpResponse:
    """Send a result; whoever knows its name may see it."""
    match = RESULT.fullmatch(name)
    if not match:
        raise Http404
    try:
        response = HttpResponse(read(default_storage, name), content_type=CONTENT_TYPES[match[1]])
    except FileLost as lost:
        raise Http404 from lost
    response["Cache-Control"] = IMMUTABLE
    return response
