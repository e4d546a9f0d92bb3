"""Browsers for the tests of pages."""

from collections.abc import Callable

import pytest
from django.test import Client

from tests.conftest import Person
from tests.sessions import logged_in


@pytest.fixture
def browser() -> Callable[[Person], Client]:
    """Return a function that gives the browser of a person who is logged in."""
    return lambda person: logged_in(person.user)
