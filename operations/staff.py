"""Keeps what staff do closed to staff without a second factor, where the site asks for one."""

from collections.abc import Callable

from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from accounts.models import User

DOORS = ("/admin/", "/hijack/acquire/")


class SecondFactor:
    """Middleware that sends staff to the page where a second factor is set up, until they have one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if settings.STAFF_SECOND_FACTOR and request.path.startswith(DOORS):
            user = request.user
            if isinstance(user, User) and user.is_staff and not is_mfa_enabled(user):
                messages.warning(request, "The admin wants a second factor: set one up here first.")
                return redirect("mfa_index")
        return self.get_response(request)
