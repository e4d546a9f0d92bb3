"""Staff, logged in."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from tests.conftest import Person


@pytest.fixture
def staff(charlie: Person) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(charlie.user)
    return client


@pytest.fixture
def address() -> Callable[..., str]:
    """Return a function that gives the address of something of an account in the admin."""

    def find(person: Person, what: str = "change") -> str:
        return reverse(f"admin:accounts_user_{what}", args=[person.user.pk])

    return find
