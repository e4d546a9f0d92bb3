"""Watching a generation: the answer without a stream, what the stream brings, and what it leaves out."""

import asyncio
import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from django.test import Client

from generation import events, progress, services
from generation.events import State, Watchers, told
from generation.models import Generation, Status
from generation.progress import Progress
from tests.conftest import Person
from tests.generation.conftest import Submit, row
from tests.sessions import logged_in

DRAFT = base64.b64encode(b"small JPEG").decode()


@pytest.fixture
def site(alice: Person) -> Client:
    """Alice's browser."""
    return logged_in(alice.user)


def read(stream: bytes) -> list[dict[str, Any]]:
    """Return the events of a stream, without what is said to the browser and to proxies."""
    found = []
    for block in stream.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith((":", "retry")))
        if fields:
            found.append(fields | {"data": json.loads(fields["data"])})
    return found


def watched(pk: int, last_id: str = "", until: int = 1, watchers: Watchers | None = None) -> list[dict[str, Any]]:
    """Watch a generation in a loop of its own until the stream ends or has brought so many events."""

    async def watch() -> bytes:
        said = b""
        stream = (watchers or Watchers()).events(pk, last_id)
        async for piece in stream:
            said += piece
            if len(read(said)) == until:
                break
        await stream.aclose()
        return said

    return read(asyncio.run(asyncio.wait_for(watch(), 30)))


def end(generation: Generation) -> Generation:
    assert services.cancel(generation.pk)
    return row(generation)


def test_it_tells_the_present_state(site: Client, submit: Submit) -> None:
    generation = submit()

    reply = site.get(f"/history/{generation.pk}/events")

    [event] = read(reply.content)
    assert (reply["Content-Type"], reply["Cache-Control"]) == ("text/event-stream", "no-store")
    assert reply.content.startswith(b"retry: 1000\n\n")
    state = events.state(generation)
    data = {"status": "queued", "step": 0, "steps": 2, "eta_seconds": state.eta_seconds, "draft": ""}
    assert event == {"id": state.id, "event": "progress", "data": data}


def test_the_final_state_is_told_once_and_then_nothing_more(site: Client, submit: Submit) -> None:
    generation = end(submit())
    address = f"/history/{generation.pk}/events"

    first = site.get(address)
    [event] = read(first.content)
    again = site.get(address, headers={"Last-Event-ID": event["id"]})

    data = {"status": "canceled", "step": 0, "steps": 2, "eta_seconds": 0, "draft": ""}
    assert (first.status_code, event) == (200, {"id": "canceled", "event": "end", "data": data})
    assert (again.status_code, again.content) == (204, b"")


@pytest.mark.parametrize("last_id", ["", "queued-0-0-0-5", "success", "é"])
def test_whoever_missed_the_end_is_told_it(site: Client, submit: Submit, last_id: str) -> None:
    generation = end(submit())

    reply = site.get(f"/history/{generation.pk}/events", headers={"Last-Event-ID": last_id})

    assert [event["event"] for event in read(reply.content)] == ["end"]


def test_another_account_and_strangers_see_nothing(client: Client, bob: Person, submit: Submit) -> None:
    address = f"/history/{submit().pk}/events"

    assert logged_in(bob.user).get(address).status_code == 404
    assert client.get(address)["Location"] == f"/account/login/?next={address}"
    assert logged_in(bob.user).post(address).status_code == 405


KNOWN = State("processing", attempt=2, step=3, steps=9, eta_seconds=4)
SAID = Progress(pk=1, attempt=2, step=5, steps=9, draft=DRAFT, draft_number=1)


def test_what_the_worker_says_is_added() -> None:
    assert told(KNOWN, SAID) == replace(KNOWN, step=5, draft=DRAFT, draft_number=1)


def test_steps_never_go_back() -> None:
    assert told(KNOWN, replace(SAID, step=1)).step == 3


@pytest.mark.parametrize("attempt", [1, 3])
def test_what_another_attempt_says_is_ignored(attempt: int) -> None:
    assert told(KNOWN, replace(SAID, attempt=attempt)) == KNOWN


@pytest.mark.parametrize("status", [status for status in Status.values if status != "processing"])
def test_what_is_said_of_something_that_is_not_being_made_is_ignored(status: str) -> None:
    known = replace(KNOWN, status=status)

    assert told(known, SAID) == known


def test_what_looks_the_same_has_the_same_id_and_nothing_else_has() -> None:
    others = [
        replace(KNOWN, **change)
        for change in ({"status": "queued"}, {"attempt": 3}, {"step": 4}, {"draft_number": 1}, {"eta_seconds": 5})
    ]

    assert replace(KNOWN).id == KNOWN.id
    assert len({state.id for state in [KNOWN, *others]}) == 6


@pytest.mark.django_db(transaction=True)
def test_a_stream_ends_with_the_end(submit: Submit) -> None:
    generation = end(submit())

    assert [event["event"] for event in watched(generation.pk, until=99)] == ["end"]
    assert watched(generation.pk, "canceled", until=99) == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("attempt", "step", "draft"), [(1, 1, f"data:image/jpeg;base64,{DRAFT}"), (0, 0, ""), (7, 0, "")]
)
def test_whoever_comes_late_sees_the_last_draft_of_this_attempt(
    submit: Submit, attempt: int, step: int, draft: str
) -> None:
    generation = services.claim(submit().pk)
    assert generation
    assert generation.attempt == 1
    progress.publish(Progress(generation.pk, attempt, 1, 2, DRAFT, 1))

    [event] = watched(generation.pk)

    assert (event["data"]["status"], event["data"]["step"], event["data"]["draft"]) == ("processing", step, draft)


@pytest.mark.django_db(transaction=True)
def test_watching_is_told_to_the_workers_and_forgotten(submit: Submit) -> None:
    generation, watchers = submit(), Watchers()
    assert not progress.is_watched(generation.pk)

    watched(generation.pk, watchers=watchers)

    assert progress.is_watched(generation.pk)
    assert (dict(watchers.waking), watchers.states) == ({}, {})


@pytest.mark.django_db(transaction=True)
def test_without_redis_the_rows_are_enough(submit: Submit, no_redis: None) -> None:
    generation = submit()
    [event] = watched(generation.pk)
    assert event["data"]["status"] == "queued"

    end(generation)

    assert [event["event"] for event in watched(generation.pk, event["id"], until=99)] == ["end"]


@pytest.mark.django_db(transaction=True)
def test_a_stream_brings_each_change_until_the_end(submit: Submit) -> None:
    generation = submit()

    async def follow() -> list[dict[str, Any]]:
        seen: list[dict[str, Any]] = []
        async for piece in Watchers().events(generation.pk):
            for event in read(piece):
                seen.append(event)
                if event["data"]["status"] == "queued":
                    claim = await events.in_thread(services.claim, generation.pk)
                    progress.publish(Progress(claim.pk, claim.attempt, 1, 2, DRAFT, 1))
                elif event["data"]["draft"]:
                    await events.in_thread(services.cancel, generation.pk)
        return seen

    seen = asyncio.run(asyncio.wait_for(follow(), 30))

    assert seen[0]["data"]["status"] == "queued"
    assert f"data:image/jpeg;base64,{DRAFT}" in [event["data"]["draft"] for event in seen]
    assert (seen[-1]["event"], seen[-1]["data"]["status"]) == ("end", "canceled")
    assert len({event["id"] for event in seen}) == len(seen)
