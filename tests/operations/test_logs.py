"""config.logs: lines that tell what they belong to, and no secret."""

import io
import json
import logging
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from accounts.models import ApiKey
from config import logs
from tests.conftest import Api, Person
from tests.live import serving
from tests.v3 import bodies

SECRET = "a-very-secret-thing"
KEY = "sk_" + "aB3-_x9" * 6
SIGNING_SECRET = "whsec_" + "aB3/+x9Z" * 4


@pytest.fixture(params=[logs.Line("{levelname} {message}", style="{"), logs.Json()], ids=["line", "json"])
def output(request: Any) -> Any:
    """Everything that is logged, as our handler writes it."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(request.param)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.mark.parametrize(
    ("message", "secret"),
    [
        (f"the key {KEY} came", KEY),
        (f"POST /api/v3/fetch/1?key={SECRET}&x=1", SECRET),
        (f"redis://:{SECRET}@127.0.0.1:6379/0 is away", SECRET),
        (f"postgres://atelier:{SECRET}@db/atelier", SECRET),
        (f"Authorization: Basic {SECRET}", SECRET),
        (f"{{'Authorization': 'Bearer {SECRET}'}}", SECRET),
        ("sk_live_51Habcdefghijklmnop", "51Habcdefghijklmnop"),
        ("rk_test_51Habcdefghijklmnop", "51Habcdefghijklmnop"),
        (f"signed with {SIGNING_SECRET}", SIGNING_SECRET),
    ],
)
def test_no_secret_is_written(output: io.StringIO, message: str, secret: str) -> None:
    logging.getLogger("test").warning("It happened: %s", message)
    try:
        raise ValueError(message)
    except ValueError:
        logging.getLogger("test").exception("It failed.")

    assert "It happened" in output.getvalue()
    assert "ValueError" in output.getvalue()
    assert secret not in output.getvalue()


def test_ordinary_words_stay_as_they_are(output: io.StringIO) -> None:
    words = "generation 5 took 1.5 s at https://example.org/a?b=c#d for risk_assessment_of_everything"
    logging.getLogger("test").info(words)

    assert words in output.getvalue()


def test_a_line_tells_the_request_and_the_generation(db: None, output: io.StringIO, client: Client) -> None:
    with logs.about(request_id="abc"), logs.about(generation=5):
        logging.getLogger("test").info("inside")
    logging.getLogger("test").info("outside")

    inside, outside = output.getvalue().splitlines()[:2]
    if inside.startswith("{"):
        assert (json.loads(inside)["request_id"], json.loads(inside)["generation"]) == ("abc", 5)
        assert "generation" not in json.loads(outside)
    else:
        assert inside == "INFO inside request_id=abc generation=5"
        assert outside == "INFO outside"


def test_every_reply_names_its_request(db: None, client: Client) -> None:
    own = client.get("/healthz", headers={"X-Request-ID": "from-the-proxy_1"})
    forged = client.get("/healthz", headers={"X-Request-ID": 'x" level="INFO'})

    assert own["X-Request-ID"] == "from-the-proxy_1"
    assert len(forged["X-Request-ID"]) == 32


def test_a_day_of_mixed_requests_leaves_no_key_in_any_line(
    output: io.StringIO, api: Api, alice: Person, monkeypatch: Any
) -> None:
    key, secret = alice.key, alice.user.webhook_secret
    requests: list[tuple[str, Any, dict[str, str]]] = [
        ("text2img", bodies.text2img(key), {}),
        ("text2img", f'{{"key": "{key}", broken', {}),
        (f"fetch/1?key={key}", None, {"key": key}),
        (f"nonsense?key={key}", {"key": key}, {"Authorization": f"Bearer {key}"}),
        ("account", {"key": key}, {"X-API-Key": key}),
    ]
    for path, body, headers in requests:
        api.post(path, body, headers=headers)
    monkeypatch.setattr("generation.v3.replies.account", lambda key, limits: 1 / 0)
    api.post(f"account?key={key}", {"key": key})
    api.client.get(f"/nowhere?key={key}")
    logging.getLogger("django.request").error("Bad: %r", {"key": key, "secret": secret})

    written = output.getvalue()
    assert "ZeroDivisionError" in written
    assert key not in written
    assert key[3:] not in written
    assert secret not in written
    assert ApiKey.objects.filter(digest__in=written.split()).count() == 0


def test_no_handler_of_a_library_writes_past_the_formatters() -> None:
    for name in ("django", "django.server", "django.request", "rq.worker"):
        assert [type(handler) for handler in logging.getLogger(name).handlers] == [], name


@pytest.mark.parametrize("processes", ["1", "2"])
def test_every_line_of_the_web_processes_is_json_without_secrets(
    transactional_db: None, tmp_path: Path, processes: str
) -> None:
    serve = "from config.serve import main; main('tests.operations.failing:application')"
    command = f"{sys.executable} -c {shlex.quote(serve)}"
    with serving(tmp_path, command, LOG_FORMAT="json", WEB_PROCESSES=processes) as web:
        status, _ = web.request("GET", "/")

    lines = [json.loads(line) for line in web.log.read_text().splitlines()]
    (fault,) = [line for line in lines if line["level"] == "ERROR"]
    assert status == 500
    assert fault["message"] == "Exception in ASGI application\n"
    assert "ConnectionError: redis://:[hidden]@127.0.0.1/0 refuses [hidden]" in fault["exception"]
    assert "Finished server process" in " ".join(line["message"] for line in lines)
