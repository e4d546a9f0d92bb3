"""The door of the pages that only members see."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar
from urllib.parse import urlsplit

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.http import url_has_allowed_host_and_scheme

View = TypeVar("View", bound=Callable[..., HttpResponseBase])


def login_required(view: View) -> View:
    """Let in who is logged in; others log in first and come back to what they looked at.

    Django's own decorator leads back to the address that was asked for, also where that one takes only what forms send.
    """

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated:
            return view(request, *args, **kwargs)
        return redirect_to_login(way_back(request))

    return guarded  # type: ignore[return-value]


def way_back(request: HttpRequest) -> str:
    """Return the page that is asked for, or else the one of this site whose form was sent."""
    if request.method in ("GET", "HEAD"):
        return request.get_full_path()
    sent_from = request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(sent_from, {request.get_host()}, require_https=request.is_secure()):
        return "/"
    page = urlsplit(sent_from)._replace(scheme="", netloc="", fragment="").geturl()
    return page if page.startswith("/") and url_has_allowed_host_and_scheme(page, None) else "/"
