"""GET /healthz and GET /readyz"""

from typing import Any

import pytest
from django.test import Client

from config.storage import FolderStorage
from generation import queue
from tests.services import free_port

READY = {"database": True, "redis": True, "storage": True, "gpu_worker": True}


@pytest.fixture
def worker() -> None:
    queue.beat("one", {"rss_bytes": 5})


def test_a_process_that_lives_says_so_without_asking_anything(client: Client) -> None:
    reply = client.get("/healthz")

    assert (reply.status_code, reply.content) == (200, b"ok")


def test_it_is_ready_when_everything_is_there(db: None, worker: None, client: Client) -> None:
    reply = client.get("/readyz")

    assert (reply.status_code, reply.json()) == (200, READY)


def test_it_is_not_without_a_gpu_worker_and_says_why(
    db: None, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    reply = client.get("/readyz")

    assert (reply.status_code, reply.json()) == (503, READY | {"gpu_worker": False})
    assert caplog.messages == ["Not ready: gpu_worker (LookupError: none is alive that has loaded the model)"]


def test_a_worker_that_is_silent_no_longer_counts(db: None, client: Client, monkeypatch: Any) -> None:
    queue.beat("one", {})
    later = queue.redis_time() + queue.SILENCE_SECONDS + 1
    monkeypatch.setattr(queue, "redis_time", lambda: later)

    assert client.get("/readyz").json()["gpu_worker"] is False
    assert queue.redis().hlen(queue.GPU_WORKERS) == 0


def test_it_is_not_without_redis(db: None, client: Client, settings: Any) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    queue.redis.cache_clear()
    try:
        reply = client.get("/readyz")
    finally:
        settings.__delattr__("REDIS_URL")
        queue.redis.cache_clear()

    assert (reply.status_code, reply.json()) == (503, READY | {"redis": False, "gpu_worker": False})


def test_it_is_not_without_storage_or_database(client: Client, worker: None, monkeypatch: Any) -> None:
    def broken(*_: Any) -> bool:
        raise OSError("the disk is gone")

    monkeypatch.setattr(FolderStorage, "exists", broken)

    reply = client.get("/readyz")  # pytest lets no test without the fixture reach the database

    assert (reply.status_code, reply.json()) == (503, READY | {"storage": False, "database": False})


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_they_answer_by_address_and_without_tls(db: None, client: Client, settings: Any, path: str) -> None:
    settings.ALLOWED_HOSTS = ["images.example.org"]
    settings.SECURE_SSL_REDIRECT = True

    assert client.get(path, headers={"host": "10.0.0.7:8000"}).status_code in (200, 503)
