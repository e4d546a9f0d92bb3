"""The OpenAPI description and its page: complete, offline, and never a server fault for whatever it allows."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.test import Client
from django.utils.translation import trans_real
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from hypothesis import HealthCheck, given, settings
from openapi_schema_validator import OAS30Validator
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from generation.v3.handbook import examples
from tests.conftest import Person
from tests.v3 import bodies

GENERATING = ("text2img", "img2img", "inpaint", "fetch", "fetch/{id}", "cancel", "cancel/{id}", "reproduce/{id}")
ENDPOINTS = (*GENERATING, "account", "events", "price", "system_load")
PATHS = [f"/api/v3/{name}" for name in ENDPOINTS]
REQUESTS = 168  # an endpoint; 2,016 in all
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return dict(SchemaGenerator().get_schema(request=None, public=True))


def test_it_is_generated_without_a_warning() -> None:
    with GENERATOR_STATS.silence():
        schema = SchemaGenerator().get_schema(request=None, public=True)

    assert (dict(GENERATOR_STATS._warn_cache), dict(GENERATOR_STATS._error_cache)) == ({}, {})
    validate_schema(schema)


def test_every_endpoint_is_described_with_its_fields(schema: dict[str, Any]) -> None:
    assert sorted(path for path in schema["paths"] if path.startswith("/api/v3/")) == sorted(PATHS)
    assert {method for path in PATHS for method in schema["paths"][path]} == {"post"}
    image_to_image = schema["components"]["schemas"]["ImageToImage"]
    assert image_to_image["required"] == ["init_image", "prompt"]
    assert set(image_to_image["properties"]) >= {"key", "strength", "seed", "track_id", "webhook", "samples"}
    assert schema["components"]["schemas"]["Inpaint"]["required"] == ["init_image", "mask_image", "prompt"]


@pytest.mark.parametrize("name", [name for name in ENDPOINTS if "{" not in name])
def test_a_request_that_the_handbook_shows_is_allowed(schema: dict[str, Any], name: str) -> None:
    allowed = body_of(schema, name)

    allowed.validate(examples.parameters(name, "https://images.example.com") | {"key": "sk_secret"})


@pytest.mark.parametrize("name", ENDPOINTS)
def test_null_is_allowed_where_nothing_is(schema: dict[str, Any], name: str) -> None:
    allowed = body_of(schema, name)
    required = dict.fromkeys(allowed.schema.get("required", ()), "x")
    optional = allowed.schema["properties"].keys() - required.keys() - {"request_id"}

    allowed.validate(required | dict.fromkeys(optional))
    assert not [field for field in required if allowed.is_valid(required | {field: None})]


@pytest.mark.parametrize(
    ("name", "field", "values", "wrong"),
    [
        ("text2img", "seed", (None, -1, 0, 2**32 - 1), (-2, 2**32)),
        ("text2img", "width", (None, 64, 1024), (63, 1025)),
        ("text2img", "track_id", (None, 7, "order-7"), ([], "x" * 256)),
        ("price", "mode", (None, "inpaint"), ("nonsense",)),
        ("events", "cursor", (None, 0, 2**53), (-1, "x")),
        ("events", "limit", (None, 1, 100), (0, 101)),
    ],
)
def test_a_field_allows_what_is_taken(
    schema: dict[str, Any], name: str, field: str, values: tuple[Any, ...], wrong: tuple[Any, ...]
) -> None:
    allowed = body_of(schema, name)

    assert [value for value in values if not allowed.is_valid({"prompt": "a cat", field: value})] == []
    assert [value for value in wrong if allowed.is_valid({"prompt": "a cat", field: value})] == []


def body_of(schema: dict[str, Any], name: str) -> OAS30Validator:
    """Return what judges a JSON body that is sent to the endpoint."""
    body = schema["paths"][f"/api/v3/{name}"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    form = schema["components"]["schemas"][body["$ref"].rsplit("/", 1)[1]] if "$ref" in body else body
    return OAS30Validator(form | {"components": schema["components"]})


def test_the_page_loads_nothing_from_outside(db: None) -> None:
    client = Client()

    page = client.get("/api/docs").content.decode()
    scripts = re.findall(r'(?:src|href)="([^"]+)"', page)

    assert "swagger-ui" in page
    assert scripts
    assert not re.findall(r"https?://|[\"'(]//", page)
    assert {client.get(link).status_code for link in scripts} == {200}


def test_the_schema_is_served(db: None) -> None:
    answer = Client().get("/api/schema", headers={"Accept": "application/json"})

    assert set(PATHS) <= set(json.loads(answer.content)["paths"])


@pytest.mark.parametrize("query", ["version=%0A", "version=2", "version=2%22;", "lang=xx-nowhere", "lang=%00"])
def test_the_query_chooses_no_version_and_no_language(db: None, query: str) -> None:
    plain = Client().get("/api/schema")
    languages = set(trans_real._translations)

    answer = Client(raise_request_exception=False).get(f"/api/schema?{query}")

    assert (answer.status_code, answer.content) == (200, plain.content)
    assert answer["Content-Disposition"] == plain["Content-Disposition"]
    assert set(trans_real._translations) == languages
    assert Client().get(f"/api/docs?{query}").status_code == 200


@pytest.fixture(scope="module")
def operations(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the endpoints by path, each with a strategy that makes requests to it, right ones and wrong ones."""
    described = schemathesis.openapi.from_dict(schema)
    described.app = get_wsgi_application()
    return {path: described[path]["POST"] for path in PATHS}


@pytest.fixture
def _one_connection(db: None) -> Iterator[None]:
    """Keep the test's transaction open between requests, as Django's own test client does."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.mark.usefixtures("_one_connection")
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_no_request_is_a_server_fault_and_every_refusal_writes_nothing(
    operations: dict[str, Any], alice: Person, path: str, mode: schemathesis.GenerationMode
) -> None:
    asked = 0
    rows = bodies.written()

    @settings(max_examples=REQUESTS // 2, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operations[path].as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case) -> None:
        nonlocal asked, rows
        if isinstance(case.body, dict):
            case.body["key"] = alice.key

        answer = case.call(headers={"key": alice.key})

        case.validate_response(answer, checks=CHECKS)
        before, rows = rows, bodies.written()
        assert rows == before or answer.json()["status"] == "processing"
        asked += 1

    ask()

    assert asked >= REQUESTS // 2
