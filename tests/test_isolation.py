"""Another account's things are not there: every address of the URL table that names one, asked for by bob."""

from typing import Any

import pytest
from django.apps import apps
from django.core import serializers

from tests.addresses import Address, addresses
from tests.belongings import Belongings, furnish
from tests.conftest import Api, Person
from tests.sessions import logged_in

# What anybody may ask for: the name is the secret, or there is nothing secret.
PUBLIC = ("account/password/reset/key/", "media/", "docs/", "static/")
DIALECTS = ("api/",)  # these refuse in words of their own
NOT_THERE, NOT_THIS_WAY = 404, 405

private = [
    address
    for address in addresses()
    if address.arguments and not address.route.startswith((*PUBLIC, *DIALECTS, "admin/"))
]


@pytest.fixture
def owned(alice: Person) -> Belongings:
    return furnish(alice)


def every_row() -> dict[str, Any]:
    """Return the rows of our own models; sessions, which note who was here, are Django's."""
    rows = {}
    for name in ("accounts", "billing", "generation"):
        for model in apps.get_app_config(name).get_models():
            rows[model._meta.label] = serializers.serialize("json", model._default_manager.order_by("pk"))
    return rows


def test_bob_is_told_that_nothing_is_there_and_changes_nothing(owned: Belongings, bob: Person) -> None:
    client = logged_in(bob.user)
    before = every_row()

    answers = {}
    for address in private:
        path = address.path(owned)
        answers[str(address)] = {client.get(path).status_code, client.post(path).status_code}

    wrong = {path: codes for path, codes in answers.items() if not {NOT_THERE} <= codes <= {NOT_THERE, NOT_THIS_WAY}}
    assert wrong == {}
    assert every_row() == before


def test_alice_is_shown_what_bob_is_not(owned: Belongings) -> None:
    client = logged_in(owned.person.user)

    missing = [str(address) for address in private if client.get(address.path(owned)).status_code == NOT_THERE]

    assert missing == []


@pytest.mark.parametrize("address", [a for a in addresses() if a.arguments and a.route.startswith("api/v3/")], ids=str)
def test_the_api_finds_nothing_under_another_key(address: Address, owned: Belongings, bob: Person, api: Api) -> None:
    path = address.path(owned).removeprefix("/api/v3/")

    reply = api.post(path, {"key": bob.key}).json()

    tip = "Check the id and that the key belongs to the account that made the request."
    assert reply == {"status": "failed", "message": "Request not found", "output": [], "tip": tip}


def test_the_admin_lets_nobody_in_but_staff(owned: Belongings, bob: Person) -> None:
    client = logged_in(bob.user)
    inside = [address for address in addresses() if address.route.startswith("admin/") and address.arguments]

    answers = {str(address): client.get(address.path(owned)) for address in inside}

    assert inside
    shown = {path: reply.status_code for path, reply in answers.items() if not is_refusal(reply)}
    assert shown == {}


def is_refusal(reply: Any) -> bool:
    leads_to_login = reply.status_code == 302 and "/login/" in reply["Location"]
    return leads_to_login or reply.status_code in (403, NOT_THERE, NOT_THIS_WAY)
