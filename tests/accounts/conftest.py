"""Browsers for the tests of pages."""

from collections.abc import Callable

import pytest
from django.test import Client

from tests.conftest import Person


@pytest.fixture
def browser() -> Callable[[Person], Client]:
    """Return a function that gives a person who is logged in."""

    def login(person: Person) -> Client:
        client = Client()
        client.force_login(person.user, "django.contrib.auth.backends.ModelBackend")
        return client

    return login
