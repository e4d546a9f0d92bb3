"""Taking everything along, in a real browser and from a real server."""

import zipfile

from playwright.sync_api import Page, expect

from accounts import exports
from tests.conftest import Person
from tests.e2e.browser import Watch


def test_the_page_waits_for_the_worker_and_then_gives_the_file(logged_in_page: Page, alice: Person) -> None:
    page = logged_in_page
    watch = Watch(page)

    page.goto("/account/data/")
    page.get_by_role("button", name="Pack everything").click()
    expect(page.get_by_text("Waiting for its turn")).to_be_visible()
    exports.run(alice.user.exports.get().pk)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()

    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        assert b'"alice@example.org"' in archive.read("account.jsonl")
    assert download.value.suggested_filename.startswith("atelier-20")
    assert (watch.errors, watch.strangers) == ([], [])
