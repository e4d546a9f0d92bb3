"""Sessions of people who are logged in."""

import time

from django.conf import settings
from django.test import Client

from accounts.models import User


def logged_in(user: User) -> Client:
    """Return a client of the user, who has just shown the password."""
    client = Client(raise_request_exception=False)
    client.force_login(user, "django.contrib.auth.backends.ModelBackend")
    session = client.session
    shown = {"method": "password", "at": time.time(), "email": user.email, "reauthenticated": True}
    session["account_authentication_methods"] = [shown]
    session["account_authentication_methods_user"] = str(user.pk)
    session.save()
    return client


def new_session(user: User) -> str:
    """Return the key of a new session of the user, who has just shown the password."""
    return logged_in(user).cookies[settings.SESSION_COOKIE_NAME].value
