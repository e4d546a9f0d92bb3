"""Chromium, and what a page did in it."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import connections
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Playwright,
    Request,
    ViewportSize,
    expect,
    sync_playwright,
)

from tests.conftest import Person
from tests.live import Web
from tests.sessions import new_session

AXE = Path(__file__).parents[1] / "vendor" / "axe" / "axe.min.js"
FLAGS = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
WIDE: ViewportSize = {"width": 1280, "height": 900}
NARROW: ViewportSize = {"width": 390, "height": 844}
PATIENCE_MS = 20_000  # with a page; a machine that does other things as well takes seconds for its first answer
NO_BROWSER = "THE BROWSER TESTS WERE NOT RUN: there is no Chromium. Install it: apt-get install chromium"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run the machine's Chromium, or the one that `playwright install chromium` brought."""
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright, allow_the_database():
        browser = playwright.chromium.launch(executable_path=find_browser(playwright), args=["--no-first-run", *FLAGS])
        yield browser
        browser.close()


def find_browser(playwright: Playwright) -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    if not Path(playwright.chromium.executable_path).exists():
        pytest.skip(NO_BROWSER)
    return playwright.chromium.executable_path


@contextmanager
def allow_the_database() -> Iterator[None]:
    """Let tests use models: Playwright keeps an event loop in this thread, which Django takes for asynchronous code."""
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    try:
        yield
    finally:
        connections.close_all()  # those of this loop; the tests that follow have their own
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


def open_profile(browser: Browser, web: Web, person: Person | None = None) -> BrowserContext:
    """Open a profile of its own, logged in as the person or a visitor's."""
    context = browser.new_context(base_url=web.url, locale="en-GB", viewport=WIDE)
    context.set_default_timeout(PATIENCE_MS)
    context.add_init_script(path=AXE)  # comes before the page, whose content policy would not let it in
    if person:
        session = {"name": settings.SESSION_COOKIE_NAME, "value": new_session(person.user), "url": web.url}
        context.add_cookies([session])
    return context


@dataclass
class Watch:
    """Notes what a page may not do: write errors on the console, and ask another host for anything."""

    page: Page
    errors: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self.on_console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self.on_request)

    def on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url')})")

    def on_request(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme not in ("data", "blob") and url.hostname != "127.0.0.1":
            self.strangers.append(request.url)


def accessibility_issues(page: Page, rules: list[str] | None = None, without: Sequence[str] = ()) -> list[str]:
    """Return what axe-core finds serious or critical on the page as it is now, as sentences.

    `rules` are the only ones to check, all by default; `without` are left out of all.
    """
    options: dict[str, Any] = {"resultTypes": ["violations"], "rules": {rule: {"enabled": False} for rule in without}}
    if rules:
        options["runOnly"] = rules
    violations = page.evaluate("options => axe.run(options).then(result => result.violations)", options)
    return [
        f"{violation['id']}: {violation['help']}: {node['html'][:200]} ({node['failureSummary']})"
        for violation in violations
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]
