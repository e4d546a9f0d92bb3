"""What a caller that waits costs, and what it is told: its answer is made once, when it is sent."""

import asyncio
import json
from typing import Any

from asgiref.sync import async_to_sync
from django.db import connection
from django.test import AsyncClient
from django.test.utils import CaptureQueriesContext

from generation import waiting
from generation.models import Generation
from generation.waiting import Wait
from tests.conftest import Api, Person
from tests.v3 import bodies


def submit(alice: Person, **changes: Any) -> tuple[Any, Wait | None]:
    """Submit as through an ASGI server; return the response, whose body is not made yet, and what is waited for."""
    body = bodies.text2img(alice.key, **changes)
    post = async_to_sync(AsyncClient().post)
    response = post("/api/v3/text2img", json.dumps(body), content_type="application/json")
    return response, response.asgi_request.scope.get(waiting.NOTE)


def test_the_answer_is_made_after_the_wait(alice: Person, work: Any) -> None:
    response, wait = submit(alice, track_id=5)
    work()

    assert wait
    status, body = wait.reply()

    assert response.content == b"{}"
    assert (status, body["status"], body["id"], body["track_id"]) == (200, "success", wait.pk, 5)


def test_only_what_is_answered_is_estimated(alice: Person) -> None:
    submit(alice)
    with CaptureQueriesContext(connection) as submitting:
        submit(alice)

    paces = [query for query in submitting if "compute_seconds" in query["sql"] and "ORDER BY" in query["sql"]]
    assert len(paces) == 1  # for what is promised; the answer is estimated when it is made


def test_where_nobody_waits_the_answer_is_made_at_once(alice: Person, settings: Any) -> None:
    settings.SYNC_WAIT_SECONDS = 0

    response, wait = submit(alice)

    assert wait is None
    assert response.json()["status"] == "processing"


def test_a_caller_learns_the_id_though_the_database_went_away(api: Api, alice: Person, settings: Any) -> None:
    """The answer is then the one that a submission gets which nobody waits for."""
    _, wait = submit(alice)
    assert wait

    def broken() -> Any:
        raise ConnectionError

    head = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2"), (b"a", b"b")]}
    final = waiting.final_answer(Wait(wait.pk, wait.seconds, broken, wait.unread_reply), [head])
    start, body = asyncio.run(final)
    with CaptureQueriesContext(connection) as queries:
        wait.unread_reply()

    answer = json.loads(body["body"])
    _, usual = wait.reply()
    assert start["headers"] == [(b"a", b"b"), (b"content-length", str(len(body["body"])).encode())]
    assert len(queries) == 0
    assert 0 < answer["eta"] <= usual["eta"]
    assert answer | {"eta": 0} == usual | {"eta": 0}
    assert Generation.objects.count() == 1
