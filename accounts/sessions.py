"""Forgets sessions that are over, and the addresses and browsers that they came from."""

from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session

from config.sessions import SessionStore


def forget() -> None:
    """Remove the sessions whose time is over, and what is noted about those that are gone."""
    SessionStore.clear_expired()
    UserSession.objects.exclude(session_key__in=Session.objects.values("session_key")).delete()
