"""Walks every page that the URL table has: scripts, requests, content policy, accessibility, light, dark, narrow."""

from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.test import override_settings
from playwright.sync_api import Browser, Page

from accounts.models import ApiKey, User
from billing import ledger
from config.storage import storages
from tests.addresses import Address, addresses
from tests.belongings import Belongings, furnish
from tests.conftest import Person
from tests.e2e.browser import NARROW, WIDE, Watch, accessibility_issues, open_profile
from tests.live import Web
from tests.sessions import new_session

pytestmark = pytest.mark.django_db
NOT_OURS = ("admin/", "api/docs")  # frames of Django's admin and of Swagger
NOT_FOR_READERS = ("api/v3/", "media/", "stripe/")


def is_page(address: Address) -> bool:
    return not address.route.startswith((*NOT_OURS, *NOT_FOR_READERS))


@pytest.fixture(scope="module")
def owned(django_db_setup: None, django_db_blocker: Any, web: Web, folder: Path) -> Iterator[Belongings]:
    """Alice and one of each thing she can own, for all pages: they are only looked at."""
    # Not by assignment: the storage of the test before would stay in use.
    with override_settings(STORAGES=storages("", folder)), django_db_blocker.unblock():
        user = User.objects.create_user("alice@example.org", "correct horse")
        ledger.grant(user.pk, 1000, "test:alice")
        yield furnish(Person(user, *ApiKey.create(user, "Production")))
        call_command("flush", interactive=False, verbosity=0)


@pytest.fixture(scope="module")
def session(owned: Belongings) -> str:
    return new_session(owned.person.user)


@pytest.fixture(scope="module")
def watches(browser: Browser, web: Web, owned: Belongings) -> Iterator[dict[str, Watch]]:
    """Alice's page and a visitor's, kept for all addresses so that style and scripts are loaded once."""
    profiles = {"alice": open_profile(browser, web, owned.person), "visitor": open_profile(browser, web)}
    yield {who: Watch(profile.new_page()) for who, profile in profiles.items()}
    for profile in profiles.values():
        profile.close()


def answer(web: Web, path: str, session: str = "") -> tuple[int, str, str]:
    """Return status, content type and content policy, without reading what may never end."""
    connection = HTTPConnection("127.0.0.1", web.port, timeout=60)
    connection.request("GET", path, headers={"Cookie": f"{settings.SESSION_COOKIE_NAME}={session}"} if session else {})
    response = connection.getresponse()
    connection.close()
    headers = response.headers
    return response.status, headers.get_content_type(), headers.get("Content-Security-Policy", "")


@pytest.mark.parametrize("address", filter(is_page, addresses()), ids=str)
def test_it_works_for_everybody(
    address: Address, web: Web, owned: Belongings, session: str, watches: dict[str, Watch]
) -> None:
    path = address.path(owned)
    status, kind, policy = answer(web, path, session)
    who = "alice"
    if status != 200:  # not for people who are logged in
        who = "visitor"
        status, kind, policy = answer(web, path)
    assert status < 500
    if status != 200 or kind != "text/html":
        return  # a redirection or a file

    watch = watches[who]
    page = watch.page
    page.goto("about:blank")
    page.set_viewport_size(WIDE)
    page.emulate_media(color_scheme="light")
    watch.errors.clear()
    watch.strangers.clear()
    page.goto(path)
    found = {}
    for width, size in {"wide": WIDE, "narrow": NARROW}.items():
        page.set_viewport_size(size)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found[width, scheme] = accessibility_issues(page, None if scheme == "light" else ["color-contrast"])
    sideways = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    assert {where: issues for where, issues in found.items() if issues} == {}
    assert (watch.errors, watch.strangers) == ([], [])
    assert sideways == 0, "the page scrolls sideways on a phone"
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_the_walk_would_notice(page: Page, web: Web) -> None:
    watch = Watch(page)
    page.goto("/account/login/")
    page.evaluate("""() => {
        document.querySelector("main").innerHTML = '<img src="http://localhost:9/a.png"><p onclick="1">unclear</p>';
        console.error("oh");
    }""")

    issues = accessibility_issues(page)

    assert ["image-alt" in issue for issue in issues] == [True]
    assert any("oh" in error for error in watch.errors)
    assert any("Content Security Policy" in error for error in watch.errors)
    assert watch.strangers == ["http://localhost:9/a.png"]
