"""How a V3 request may arrive: body, query, headers, methods, and what is answered when it can't be read."""

import json
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart

from generation.models import Generation
from tests.conftest import Api, Person
from tests.v3 import bodies

ENDPOINTS = ["img2img", "text2img", "inpaint", "fetch", "fetch/77", "system_load"]
FORM = "application/x-www-form-urlencoded"
READABLE = {"img2img": "processing", "text2img": "processing", "inpaint": "processing", "system_load": "ok"}


def invalid(tip: str) -> dict[str, str]:
    return {"status": "error", "message": "Invalid API Request", "tip": tip}


NOT_JSON = invalid("The request body is not valid JSON.")
NO_FORM = invalid("The form data could not be read.")
NOT_POST = invalid("Make sure you are sending a POST request.")


@pytest.fixture
def client(db: None) -> Client:
    return Client(raise_request_exception=False)


def send(client: Client, path: str, body: str | bytes, content_type: str, **headers: str) -> Any:
    return client.generic("POST", f"/api/v3/{path}", body, content_type=content_type, headers=headers)


def as_json(client: Client, path: str, fields: dict[str, Any]) -> Any:
    return send(client, path, json.dumps(fields), "application/json")


def as_text(client: Client, path: str, fields: dict[str, Any]) -> Any:
    return send(client, path, json.dumps(fields), "text/plain;charset=UTF-8")


def as_form(client: Client, path: str, fields: dict[str, Any]) -> Any:
    return send(client, path, urlencode(fields), FORM)


def as_multipart(client: Client, path: str, fields: dict[str, Any]) -> Any:
    return send(client, path, encode_multipart(BOUNDARY, fields), MULTIPART_CONTENT)


def as_query(client: Client, path: str, fields: dict[str, Any]) -> Any:
    return client.generic("POST", f"/api/v3/{path}?{urlencode(fields)}")


def as_json_under_the_name_of_a_form(client: Client, path: str, fields: dict[str, Any]) -> Any:
    """What `curl -d '{…}'` sends."""
    return send(client, path, json.dumps(fields, indent=1), FORM)


WAYS = [as_json, as_text, as_form, as_multipart, as_query, as_json_under_the_name_of_a_form]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_parameters_arrive_in_every_way_on_every_endpoint(
    client: Client, alice: Person, way: Any, endpoint: str
) -> None:
    fields = bodies.inpaint(alice.key, request_id=77)

    reply = way(client, endpoint, fields)

    assert (reply.status_code, reply["Content-Type"]) == (200, "application/json")
    assert reply.json()["status"] == READABLE.get(endpoint, "failed")
    if endpoint in READABLE:
        assert Generation.objects.count() == (endpoint != "system_load")
    else:
        assert reply.json()["message"] == "Request not found"


@pytest.mark.parametrize("way", WAYS)
def test_the_values_are_the_same_in_every_way(client: Client, alice: Person, way: Any) -> None:
    fields = bodies.text2img(alice.key, prompt='{"ö" & 猫+=%', seed=7, guidance_scale="3.5", samples=2, track_id="a b")

    reply = way(client, "text2img", fields).json()

    meta = reply["meta"]
    assert (meta["prompt"], meta["seed"], meta["guidance_scale"]) == ('{"ö" & 猫+=%', 7, 3.5)
    assert (meta["n_samples"], meta["W"], reply["track_id"]) == (2, 64, "a b")


@pytest.mark.parametrize("way", [as_json, as_text, as_form, as_multipart])
def test_the_body_beats_the_query(client: Client, alice: Person, way: Any) -> None:
    query = urlencode({"prompt": "of the query", "seed": 1, "num_inference_steps": 3, " negative_prompt": "kept"})
    fields = bodies.text2img(alice.key, prompt="of the body", seed=2)
    del fields["num_inference_steps"]

    meta = way(client, f"text2img?{query}", fields | {"steps": 4}).json()["meta"]

    assert (meta["prompt"], meta["seed"], meta["steps"]) == ("of the body", 2, 4)
    assert meta["negative_prompt"] == "kept"


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_slash_at_the_end_changes_nothing(client: Client, alice: Person, endpoint: str, slash: str) -> None:
    reply = as_json(client, endpoint + slash, bodies.inpaint(alice.key))

    assert reply.json()["status"] == READABLE.get(endpoint, "failed")


# The key


def ask(client: Client, body: Any = None, query: str = "", **headers: str) -> str:
    """Return "ok" when the key was found, else the message."""
    reply = send(client, f"system_load?{query}", json.dumps(body or {}), "application/json", **headers).json()
    return str(reply["message"] if reply["status"] == "error" else reply["status"])


@pytest.mark.parametrize(
    "headers",
    [
        {"key": "{}"},
        {"X-API-Key": "{}"},
        {"Authorization": "{}"},
        {"Authorization": "Bearer {}"},
        {"Authorization": "bearer {}"},
        {"Authorization": "Bearer  {} "},
    ],
)
def test_the_key_may_be_in_a_header(client: Client, alice: Person, headers: dict[str, str]) -> None:
    filled = {name: value.format(alice.key) for name, value in headers.items()}

    assert ask(client, **filled) == "ok"


def test_the_key_may_be_in_the_body_or_the_query(client: Client, alice: Person) -> None:
    assert ask(client, {"key": f" {alice.key} "}) == "ok"
    assert ask(client, {" key": alice.key}) == "ok"
    assert ask(client, query=urlencode({"key": alice.key})) == "ok"


def test_of_several_keys_the_first_place_counts(client: Client, alice: Person) -> None:
    good, bad = alice.key, "sk_wrong"
    places = [
        lambda key: {"body": {"key": key}},
        lambda key: {"query": f"key={key}"},
        lambda key: {"key": key},
        lambda key: {"X-API-Key": key},
        lambda key: {"Authorization": f"Bearer {key}"},
    ]

    for first, later in pairwise(places):
        assert ask(client, **first(good), **later(bad)) == "ok"
        assert ask(client, **first(bad), **later(good)) == "Invalid Api Key"


@pytest.mark.parametrize("authorization", ["Basic YWxpY2U6c2VjcmV0", "Bearer another-service", "Bearer", "", "…"])
def test_a_foreign_authorization_header_does_not_beat_a_good_key(
    client: Client, alice: Person, authorization: str
) -> None:
    headers = {"Authorization": authorization.encode().decode("latin1")}

    assert ask(client, {"key": alice.key}, **headers) == "ok"
    assert ask(client, query=f"key={alice.key}", **headers) == "ok"
    assert ask(client, key=alice.key, **headers) == "ok"
    assert ask(client, **headers) == "Invalid Api Key"


@pytest.mark.parametrize("nothing", [None, "", " ", "null", "none", 5, ["sk"], {"key": "sk"}, True])
def test_a_key_that_is_none_lets_the_next_place_count(client: Client, alice: Person, nothing: Any) -> None:
    assert ask(client, {"key": nothing}, key=alice.key) == "ok"


@pytest.mark.parametrize("key", ["\ud800", "\x00", "ключ", "x" * 100_000, "sk_", "Bearer", 10**300, {}, float("nan")])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_hostile_key_is_just_an_invalid_one(client: Client, alice: Person, endpoint: str, key: Any) -> None:
    before = bodies.written()

    reply = as_json(client, endpoint, bodies.inpaint("") | {"key": key})

    assert (reply.status_code, reply.json()["message"]) == (200, "Invalid Api Key")
    assert bodies.written() == before


# What can't be read


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
@pytest.mark.parametrize("endpoint", ["img2img", "fetch/77", "nonsense"])
def test_anything_but_post_is_an_invalid_request(client: Client, alice: Person, endpoint: str, method: str) -> None:
    reply = client.generic(
        method, f"/api/v3/{endpoint}", json.dumps(bodies.inpaint(alice.key)), content_type="application/json"
    )

    assert (reply.status_code, reply.json()) == (200, NOT_POST)
    assert not Generation.objects.exists()


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_head_gets_the_headers_of_the_same_answer(client: Client, endpoint: str) -> None:
    reply = client.head(f"/api/v3/{endpoint}")

    assert (reply.status_code, reply["Content-Type"], reply.content) == (200, "application/json", b"")


@pytest.mark.parametrize("endpoint", ["", "img2img2", "fetch/1/2", "text2img/x", "v4", "%00", "system_load/1"])
def test_an_unknown_endpoint_answers_in_the_dialect(client: Client, alice: Person, endpoint: str) -> None:
    reply = as_json(client, endpoint, {"key": alice.key})

    tip = "There is no such endpoint; see http://testserver/api/docs."
    assert (reply.status_code, reply.json()) == (200, invalid(tip))


@pytest.mark.parametrize(
    ("body", "content_type", "answer"),
    [
        (b'{"key": ', "application/json", NOT_JSON),
        (b"key=value", "application/json", NOT_JSON),
        (b'{"key": "\xff"}', "application/json", NOT_JSON),
        (b"\xff\xfe\x00", "text/plain", NOT_JSON),
        (b"\x00", "application/json", NOT_JSON),
        (b"{'key': 'single quotes'}", "application/json", NOT_JSON),
        (b"[" * 100_000, "application/json", NOT_JSON),
        (b'{"a":' * 100_000, "application/json", NOT_JSON),
        (b'{"seed": ' + b"9" * 5000 + b"}", "application/json", NOT_JSON),
        (b"{broken", FORM, NOT_JSON),
        (b"PNG", "image/png", NOT_JSON),
        (b"[]", "application/json", invalid("The request body must be a JSON object.")),
        (b'"text"', "application/json", invalid("The request body must be a JSON object.")),
        (b"5", "text/plain", invalid("The request body must be a JSON object.")),
        (b"null", "application/json", invalid("The request body must be a JSON object.")),
        (b'{"a": [' + b"[]," * 10_001 + b"[]]}", "application/json", invalid("The request body has too many fields.")),
        (b"a=1&" * 2000, FORM, NO_FORM),
        (b"garbage", "multipart/form-data", NO_FORM),
        (b"garbage", "multipart/form-data; boundary=", NO_FORM),
    ],
    ids=lambda value: repr(value)[:30],
)
@pytest.mark.parametrize("endpoint", ["text2img", "fetch", "system_load"])
def test_a_body_that_does_not_parse_is_an_invalid_request(
    client: Client, alice: Person, endpoint: str, body: bytes, content_type: str, answer: dict[str, str]
) -> None:
    reply = send(client, endpoint, body, content_type, key=alice.key)

    assert (reply.status_code, reply.json()) == (200, answer)
    assert not Generation.objects.exists()


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", FORM, MULTIPART_CONTENT])
def test_a_body_that_is_too_large_is_an_invalid_request(
    client: Client, alice: Person, settings: Any, content_type: str
) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000

    reply = send(client, "text2img", b'{"prompt": "' + b"x" * 1000 + b'"}', content_type, key=alice.key)

    assert (reply.status_code, reply.json()) == (200, invalid("The request body is too large."))


def test_garbage_in_a_form_is_a_matter_of_its_fields(client: Client, alice: Person) -> None:
    garbage = send(client, "text2img", b"\xff\x00=%ff%00&&&prompt=%00", FORM, key=alice.key)
    torn = send(client, "text2img", b"--x\r\nno header", "multipart/form-data; boundary=x", key=alice.key)

    assert garbage.json()["message"] == {"prompt": ["The prompt contains characters that are not text."]}
    assert torn.json()["message"] == {"prompt": ["The prompt field is required."]}


def test_an_empty_body_has_no_key(client: Client) -> None:
    for content_type in ("application/json", FORM, "text/plain", MULTIPART_CONTENT):
        assert send(client, "text2img", b"", content_type).json()["message"] == "Invalid Api Key"
        assert send(client, "text2img", b" \r\n", content_type).json()["message"] == "Invalid Api Key"


# What browsers and programs expect around the answer


@pytest.mark.parametrize("accept", ["image/png", "text/html", "application/xml;q=1", "*/*", "", "nonsense"])
@pytest.mark.parametrize("path", ["system_load", "system_load?format=xml", "nonsense"])
def test_the_answer_is_json_whatever_is_asked_for(client: Client, alice: Person, path: str, accept: str) -> None:
    reply = send(client, path, json.dumps({"key": alice.key}), "application/json", Accept=accept)

    assert reply["Content-Type"] == "application/json"
    assert reply.json()["status"] == ("error" if path == "nonsense" else "ok")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_browsers_of_any_site_may_call(client: Client, alice: Person, endpoint: str) -> None:
    preflight = client.options(
        f"/api/v3/{endpoint}",
        headers={
            "Origin": "https://shop.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type, key, x-api-key, authorization",
        },
    )
    reply = send(client, endpoint, "{}", "application/json", Origin="https://shop.example", key=alice.key)

    allowed = {word.strip() for word in preflight["Access-Control-Allow-Headers"].split(",")}
    assert (preflight.status_code, preflight["Access-Control-Allow-Origin"]) == (200, "*")
    assert "POST" in preflight["Access-Control-Allow-Methods"]
    assert allowed == {"*", "authorization"}  # browsers do not count Authorization among the rest
    assert reply["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in reply


def test_no_cookie_is_set_and_none_is_needed(client: Client, alice: Person) -> None:
    client.force_login(alice.user)

    without_key = as_json(client, "system_load", {})
    with_key = as_json(client, "system_load", {"key": alice.key})

    assert without_key.json()["message"] == "Invalid Api Key"
    assert not with_key.cookies


def test_a_browser_with_a_session_needs_no_csrf_token(alice: Person) -> None:
    client = Client(enforce_csrf_checks=True)

    reply = Api(client).post("system_load", {"key": alice.key})

    assert reply.json() == {"queue_num": 0, "queue_time": 0, "status": "ok"}
