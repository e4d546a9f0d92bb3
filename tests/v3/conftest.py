"""What the tests of the V3 dialect share."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Api, Person


@pytest.fixture
def make(transactional_db: None, api: Api, alice: Person, work: Callable[[], None]) -> Callable[..., dict[str, Any]]:
    """Return a function that posts a body, lets the workers do it, and returns the final answer."""

    def run(endpoint: str, body: dict[str, Any]) -> dict[str, Any]:
        reply = api.post(endpoint, body).json()
        assert reply["status"] == "processing", reply
        work()
        return api.post(f"fetch/{reply['id']}", {"key": body["key"]}).json()

    return run
