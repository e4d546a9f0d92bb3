"""Django's sessions in the database, for which a cookie is a key only if it looks like one."""

import re

from django.contrib.sessions.backends import db

KEY = re.compile("[a-z0-9]{8,40}")  # Source: django.contrib.sessions.backends.base; the column has room for 40


class SessionStore(db.SessionStore):
    """Looks for no key that Django would not make: a cookie may hold a NUL, at which PostgreSQL fails."""

    def _validate_session_key(self, key: str | None) -> bool:
        return bool(key and KEY.fullmatch(key))
