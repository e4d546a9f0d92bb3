"""People and doors that every test may use."""

import io
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client

from accounts.models import ApiKey, User
from billing import ledger, reconciliation
from billing.models import Entry
from config.logs import Line
from generation import queue
from tests.log_lines import assert_no_secrets

REPOSITORY = Path(__file__).parents[1]


@dataclass(frozen=True)
class Person:
    """An account with a key."""

    user: User
    api_key: ApiKey
    key: str

    @property
    def balance(self) -> int:
        return ledger.balance(self.user.pk)


@pytest.fixture
def person(db: None) -> Callable[..., Person]:
    """Return a function that makes a person."""

    def make(name: str, credits: int = 0, **fields: Any) -> Person:
        user = User.objects.create_user(f"{name}@example.org", "correct horse", **fields)
        if credits:
            ledger.grant(user.pk, credits, f"test:{name}")
        api_key, key = ApiKey.create(user, "test")
        return Person(user, api_key, key)

    return make


@pytest.fixture(autouse=True)
def _no_welcome_credits(settings: Any) -> None:
    settings.WELCOME_CREDITS = 0


@pytest.fixture(autouse=True)
def _quick_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def _static_files_when_asked_for(settings: Any) -> None:
    """Look for a static file when one is asked for; else each test client begins by reading all of them."""
    settings.WHITENOISE_AUTOREFRESH = True


@pytest.fixture(autouse=True)
def _fresh_estimates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every estimate look for itself, so that tests can compare them exactly."""
    monkeypatch.setattr("generation.estimate.SIGHT_SECONDS", 0)


@pytest.fixture(autouse=True)
def _own_folder(settings: Any, tmp_path: Path) -> None:
    """Give every test its own storage."""
    from config.storage import storages

    settings.STORAGES = storages("", tmp_path)


@pytest.fixture(autouse=True)
def _empty_redis() -> Iterator[None]:
    yield
    queue.redis().flushdb()


@pytest.fixture(autouse=True)
def _no_secret_in_logs() -> Iterator[None]:
    """Read every line that a test makes us log, as our handlers write it."""
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(Line())
    logging.getLogger().addHandler(handler)
    yield
    logging.getLogger().removeHandler(handler)
    assert_no_secrets(lines.getvalue())


@pytest.fixture(autouse=True)
def _right_ledger(request: pytest.FixtureRequest) -> Iterator[None]:
    """Prove after every test that touched money that the ledger explains it: what `manage.py check_ledger` proves."""
    uses_database = {"db", "transactional_db"} & set(request.fixturenames) or "django_db" in request.keywords
    if not uses_database or "tampered_ledger" in request.keywords:
        yield
        return
    request.getfixturevalue("_django_db_helper")  # so that the database outlives this fixture
    yield
    if not connection.needs_rollback and Entry.objects.exists():
        assert [*ledger.differences(), *reconciliation.differences()] == []


@pytest.fixture
def alice(person: Callable[..., Person]) -> Person:
    """Has credits."""
    return person("alice", credits=1000)


@pytest.fixture
def bob(person: Callable[..., Person]) -> Person:
    """Another account, with an empty wallet: proves isolation and refusals."""
    return person("bob")


@pytest.fixture
def charlie(person: Callable[..., Person]) -> Person:
    """Staff."""
    return person("charlie", is_staff=True, is_superuser=True)


@pytest.fixture
def clerk(person: Callable[..., Person]) -> Callable[..., Client]:
    """Return a function that gives the browser of dora: staff with the rights that are named, and no others."""

    def log_in(*rights: str) -> Client:
        dora = person("dora", is_staff=True)
        for right in rights:
            app, codename = right.split(".")
            dora.user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
        client = Client(raise_request_exception=False)
        client.force_login(dora.user)
        return client

    return log_in


@dataclass(frozen=True)
class Api:
    """Calls the V3 API as a client program would."""

    client: Client

    def post(self, path: str, body: Any = None, **kwargs: Any) -> Any:
        return self.client.post(f"/api/v3/{path}", body, content_type="application/json", **kwargs)


@pytest.fixture
def api(db: None) -> Api:
    return Api(Client(raise_request_exception=False))


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with all tables and nothing else, to be copied: migrating takes seconds."""
    folder = tmp_path_factory.mktemp("migrated")
    environment = os.environ | {"DATABASE_URL": "", "VAR_DIR": str(folder)}
    subprocess.run([sys.executable, REPOSITORY / "manage.py", "migrate", "-v0"], env=environment, check=True)
    return folder / "atelier.sqlite3"


@pytest.fixture
def on_sqlite(migrated_sqlite: Path, tmp_path: Path) -> Callable[[str], str]:
    """Return a function that runs code in a process whose database is an empty SQLite, and returns what it printed."""

    def run(code: str) -> str:
        shutil.copy(migrated_sqlite, tmp_path)
        settings = {"DATABASE_URL": "", "VAR_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "config.settings"}
        program = [sys.executable, "-c", f"import django; django.setup()\n{code}"]
        ended = subprocess.run(program, env=os.environ | settings, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    return run


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The real engine on a tiny random model."""
    from generation.engine import Engine, EngineSettings
    from tests.tiny_model import build_tiny_model

    folder = build_tiny_model(tmp_path_factory.mktemp("tiny"))
    return Engine.load(EngineSettings(model=str(folder), device="cpu", dtype="float32", threads=1))


@pytest.fixture(scope="session")
def whole_engine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The real engine for models that their own pipeline runs, on a tiny random SD3."""
    from generation.engine import EngineSettings, load_model
    from tests.tiny_model import build_tiny_sd3

    folder = build_tiny_sd3(tmp_path_factory.mktemp("tiny_sd3"))
    return load_model(EngineSettings(model=str(folder), device="cpu", dtype="float32", safety="none", threads=1))


@pytest.fixture
def work(engine: Any) -> Callable[[], None]:
    """Return a function that does what the workers would do with everything that is queued."""
    import threading

    from generation import jobs, making, services
    from generation.leases import hearts
    from generation.models import Generation, Status

    def run() -> None:
        for generation in Generation.objects.filter(status=Status.QUEUED).order_by("id"):
            if not generation.inputs_ready:
                jobs.fetch_inputs()
            if claim := services.claim(generation.pk):
                with hearts() as beating:
                    making.make(claim, engine, threading.Event(), beating)

    return run
