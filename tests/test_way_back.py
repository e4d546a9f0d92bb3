"""Who has to log in first comes back to a page: every address of the URL table, asked for after the session is over."""

from typing import Any

import pytest
from django.test import Client

from config.login import way_back
from tests.addresses import addresses
from tests.belongings import Belongings, furnish
from tests.conftest import Person
from tests.sessions import logged_in

LOGIN = "/account/login/?next="
FORM_AT = "http://testserver/history/?status=success#more"
OF_OTHERS = ("admin/", "api/", "media/", "static/")  # these send nobody to our login
OWN_OF_ACCOUNT = ("account/close/", "account/data/", "account/preferences/")  # the others are allauth's
ours = [
    address
    for address in addresses()
    if address.route.startswith(OWN_OF_ACCOUNT) or not address.route.startswith((*OF_OTHERS, "account/"))
]


@pytest.fixture
def owned(alice: Person) -> Belongings:
    return furnish(alice)


def test_a_form_that_is_sent_too_late_leads_back_to_the_page_it_is_on(owned: Belongings) -> None:
    asked = {str(address): Client().post(address.path(owned), headers={"Referer": FORM_AT}) for address in ours}

    led = {path: reply["Location"] for path, reply in asked.items() if reply.get("Location", "").startswith(LOGIN)}
    assert {"/history/delete", "/webhooks/secret", "/billing/portal/", "/account/data/export/"} <= led.keys()
    assert set(led.values()) == {f"{LOGIN}/history/%3Fstatus%3Dsuccess"}


def test_a_page_leads_back_to_itself(owned: Belongings) -> None:
    assert Client().get("/history/?status=failed", headers={"Referer": FORM_AT})["Location"] == (
        f"{LOGIN}/history/%3Fstatus%3Dfailed"
    )


@pytest.mark.parametrize(
    "referer",
    [
        "",
        "about:blank",
        "history/",
        "https://evil.example/history/",
        "http://testserver.evil.example/",
        "http://testserver//evil.example/",
        "http://testserver/\\\\evil.example/",
        "http://[testserver/",
        "javascript:alert(1)",
    ],
)
def test_a_form_of_nowhere_or_of_another_site_leads_to_the_first_page(rf: Any, referer: str) -> None:
    assert way_back(rf.post("/history/delete", headers={"Referer": referer})) == "/"


@pytest.mark.parametrize("path", ["/history/delete", "/history/<pk>/delete", "/playground/generations"])
def test_an_address_that_shows_a_page_in_answer_to_a_form_leads_somewhere_without_one(
    owned: Belongings, path: str
) -> None:
    [address] = [address for address in ours if str(address) == path]

    reply = logged_in(owned.person.user).get(address.path(owned), follow=True)

    assert (len(reply.redirect_chain), reply.status_code) == (1, 200)
