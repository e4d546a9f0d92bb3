"""One site of real processes for all of these tests, and the accounts they are checked by."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.resilience.receiver import Receiver
from tests.resilience.site import Site, eventually
from tests.tiny_model import build_tiny_model


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    from threading import Thread

    with Receiver() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="session")
def whole_site(tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path, receiver: Receiver) -> Iterator[Site]:
    model = build_tiny_model(tmp_path_factory.mktemp("tiny"), attends_everywhere=False)
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(migrated_sqlite, folder)
    with Site(folder, model, receiver.host) as site:
        yield site


@pytest.fixture
def site(whole_site: Site) -> Iterator[Site]:
    """The site with no gpu worker; the test's own are gone afterwards."""
    yield whole_site
    whole_site.stop_gpus()
    eventually(whole_site.is_serving)
