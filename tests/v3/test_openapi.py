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
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

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
