"""One site and one Chromium for all browser tests of a process; each test has its own profile and rows."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.contenttypes.models import ContentType
from playwright.sync_api import Browser, BrowserContext, Page

from config.storage import storages
from tests.conftest import Person
from tests.e2e.browser import chromium, open_profile
from tests.live import Web, serving
from tests.stripe_server import PretendStripe, pretend_stripe
from tests.stripe_server.webhooks import post_to


@pytest.fixture(scope="package")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="package")
def stripe() -> Iterator[PretendStripe]:
    """The pretend Stripe, which tells the site at once what happens."""
    with pretend_stripe() as server:
        yield server


@pytest.fixture(scope="package")
def content_types(django_db_setup: None, django_db_blocker: Any) -> list[ContentType]:
    """The kinds of rows as the server will know them."""
    with django_db_blocker.unblock():
        return list(ContentType.objects.all())


@pytest.fixture(scope="package")
def web(content_types: list[ContentType], folder: Path, stripe: PretendStripe) -> Iterator[Web]:
    takes_cards = {
        "STRIPE_SECRET_KEY": "sk_test_pretend",
        "STRIPE_API_BASE": stripe.url,
        "STRIPE_WEBHOOK_SECRETS": " ".join(stripe.webhooks.secrets),
    }
    with serving(folder, SECRET_KEY=django_settings.SECRET_KEY, **takes_cards) as server:
        stripe.send_webhooks_to(post_to(f"{server.url}/stripe/webhook"))
        stripe.webhooks.start()
        yield server


@pytest.fixture(autouse=True)
def _one_storage(settings: Any, folder: Path, _own_folder: None) -> None:
    """Share the server's folder, so that images made here are served there."""
    settings.STORAGES = storages("", folder)


@pytest.fixture(autouse=True)
def _same_content_types(request: pytest.FixtureRequest, content_types: list[ContentType]) -> None:
    """Keep the ids that the server remembers: they are given anew when the test before has emptied the tables."""
    if "transactional_db" in request.fixturenames:
        request.getfixturevalue("transactional_db")
        ContentType.objects.all().delete()
        ContentType.objects.bulk_create(content_types)
        ContentType.objects.clear_cache()


@pytest.fixture
def profile(browser: Browser, web: Web) -> Iterator[Callable[..., BrowserContext]]:
    """Return a function that opens a profile of its own: `profile(alice)` is logged in, `profile()` is a visitor."""
    opened: list[BrowserContext] = []

    def open_one(person: Person | None = None) -> BrowserContext:
        opened.append(open_profile(browser, web, person))
        return opened[-1]

    yield open_one
    for context in opened:
        context.close()


@pytest.fixture
def page(transactional_db: None, profile: Callable[..., BrowserContext]) -> Page:
    """A visitor's page."""
    return profile().new_page()


@pytest.fixture
def logged_in_page(transactional_db: None, profile: Callable[..., BrowserContext], alice: Person) -> Page:
    """Alice's page."""
    return profile(alice).new_page()
