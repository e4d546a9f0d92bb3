"""POST /api/v3/events: catching up with what webhooks told, or could not tell."""

from typing import Any

import pytest

from generation import services
from generation.models import Endpoint, Event
from generation.webhooks import listening
from tests.conftest import Api, Person
from tests.v3 import bodies


@pytest.fixture
def happened(api: Api, alice: Person) -> list[Event]:
    """Let an endpoint of hers hear of two generations: six events."""
    listening.add(Endpoint(account=alice.user, url="https://example.org/", events=["queued", "processing", "canceled"]))
    for k in range(2):
        pk = api.post("text2img", bodies.text2img(alice.key, track_id=k)).json()["id"]
        services.claim(pk)
        services.cancel(pk)
    return list(Event.objects.order_by("pk"))


def ask(api: Api, person: Person, **page: Any) -> dict[str, Any]:
    return dict(api.post("events", {"key": person.key} | page).json())


def test_it_tells_the_oldest_first_as_an_endpoint_is_told_them(api: Api, alice: Person, happened: list[Event]) -> None:
    reply = ask(api, alice)

    types = ["queued", "processing", "canceled"] * 2
    assert [event["type"] for event in reply["events"]] == types
    assert reply["events"][2] == {
        "id": happened[2].message_id,
        "type": "canceled",
        "timestamp": happened[2].created_at.isoformat(),
        "data": {
            "status": "failed",
            "id": happened[2].generation_id,
            "track_id": 0,
            "message": "Canceled",
            "output": [],
        },
    }
    assert (reply["status"], reply["cursor"], reply["has_more"]) == ("success", happened[-1].pk, False)


def test_the_cursor_leads_from_page_to_page_and_misses_none(api: Api, alice: Person, happened: list[Event]) -> None:
    seen, cursor, has_more = [], 0, True
    while has_more:
        page = ask(api, alice, cursor=cursor, limit=4)
        seen += [event["id"] for event in page["events"]]
        cursor, has_more = page["cursor"], page["has_more"]

    assert seen == [event.message_id for event in happened]
    assert ask(api, alice, cursor=cursor) == {"status": "success", "events": [], "cursor": cursor, "has_more": False}


def test_another_account_sees_none_of_it(api: Api, bob: Person, happened: list[Event]) -> None:
    assert ask(api, bob)["events"] == []
    assert ask(api, bob, cursor=happened[0].pk)["events"] == []


def test_a_page_that_makes_no_sense_is_refused(api: Api, alice: Person) -> None:
    words = {"cursor": ["The cursor must be a number."], "limit": ["The limit must be between 1 and 100."]}

    assert ask(api, alice, cursor="x", limit=101) == {"status": "error", "message": words}
    assert ask(api, alice, cursor=-1)["message"].keys() == {"cursor"}
