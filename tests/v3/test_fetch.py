"""POST /api/v3/fetch/{id} and POST /api/v3/fetch"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from generation import services
from tests.conftest import Api, Person
from tests.v3 import bodies

NOT_FOUND = {
    "status": "failed",
    "message": "Request not found",
    "output": [],
    "tip": "Check the id and that the key belongs to the account that made the request.",
}


def submit(api: Api, person: Person, **changes: Any) -> dict[str, Any]:
    return dict(api.post("text2img", bodies.text2img(person.key, **changes)).json())


def test_a_running_one_is_processing(api: Api, alice: Person) -> None:
    submitted = submit(api, alice, samples=2)

    fetched = api.post(f"fetch/{submitted['id']}", {"key": alice.key}).json()

    assert fetched == submitted | {"messege": "Request processing", "message": "Request processing"}
    assert isinstance(fetched["eta"], float)
    assert fetched["output"] == []
    assert len(fetched["future_links"]) == 2


def test_a_finished_one_is_answered_in_full_however_it_is_asked_for(
    api: Api, alice: Person, make: Callable[..., dict[str, Any]]
) -> None:
    body = bodies.text2img(alice.key, track_id=7)
    success = make("text2img", body)
    pk = success["id"]
    key = {"key": alice.key}

    answers = [
        api.post(f"fetch/{pk}", key),
        api.post(f"fetch/{pk}/", key),
        api.post("fetch", key | {"request_id": pk}),
        api.post("fetch", key | {"request_id": f" {pk} "}),
        api.post("fetch", body | {"request_id": str(pk)}),
        api.post(f"fetch/{pk}", body),
        api.post(f"fetch/{pk}", body | {"request_id": 1}),
        api.post(f"fetch?request_id={pk}", key),
        api.client.post(f"/api/v3/fetch/{pk}", headers=key),
        api.client.post(f"/api/v3/fetch/{pk}?key={alice.key}"),
        api.client.post(f"/api/v3/fetch/{pk}", {"key": alice.key}),
        api.client.generic("POST", f"/api/v3/fetch/{pk}", b"", headers={"Authorization": f"Bearer {alice.key}"}),
    ]

    assert success["track_id"] == 7
    assert [answer.json() for answer in answers] == [success] * len(answers)


def test_a_canceled_one_is_failed(api: Api, alice: Person) -> None:
    pk = submit(api, alice, track_id="mine")["id"]
    services.cancel(pk)

    fetched = api.post(f"fetch/{pk}", {"key": alice.key})

    assert (fetched.status_code, fetched.json()) == (
        200,
        {"status": "failed", "id": pk, "message": "Canceled", "output": [], "track_id": "mine"},
    )
    assert alice.balance == 1000


def test_a_failed_one_says_so_and_was_not_charged(api: Api, alice: Person) -> None:
    pk = submit(api, alice)["id"]
    generation = services.claim(pk)
    assert generation is not None
    services.fail(generation)

    fetched = api.post(f"fetch/{pk}", {"key": alice.key})

    assert (fetched.status_code, fetched.json()) == (
        200,
        {"status": "failed", "id": pk, "message": "Failed, Try Again", "output": []},
    )
    assert alice.balance == 1000


@pytest.mark.parametrize(
    "wanted", ["1", "0", "-1", "1.0", "٣", "abc", "%00", "%20", "9" * 18, "9" * 19, "9" * 4000, "1e3", "..", "%F0%28"]
)
def test_an_id_that_is_none_is_not_found_in_the_path(api: Api, alice: Person, wanted: str) -> None:
    reply = api.post(f"fetch/{wanted}", {"key": alice.key})

    assert (reply.status_code, reply.json()) == (200, NOT_FOUND)


@pytest.mark.parametrize(
    "wanted",
    [
        None,
        "",
        "none",
        0,
        -1,
        1.0,
        True,
        "abc",
        [1],
        {"id": 1},
        2**63,
        10**400,
        "9" * 5000,
        "\x00",
        "\ud800",
        float("nan"),
    ],
    ids=lambda wanted: repr(wanted)[:20],
)
def test_an_id_that_is_none_is_not_found_in_the_body(api: Api, alice: Person, wanted: Any) -> None:
    reply = api.post("fetch", json.dumps({"key": alice.key, "request_id": wanted}))

    assert (reply.status_code, reply.json()) == (200, NOT_FOUND)


def test_without_any_id_nothing_is_found(api: Api, alice: Person) -> None:
    submit(api, alice)

    assert api.post("fetch", {"key": alice.key}).json() == NOT_FOUND


def test_somebody_elses_is_not_found(api: Api, alice: Person, bob: Person) -> None:
    pk = submit(api, alice)["id"]

    in_path = api.post(f"fetch/{pk}", {"key": bob.key})
    in_body = api.post("fetch", {"key": bob.key, "request_id": pk})
    unknown = api.post("fetch/987654", {"key": bob.key})

    assert [reply.json() for reply in (in_path, in_body, unknown)] == [NOT_FOUND] * 3


def test_another_key_of_the_same_account_may_fetch(api: Api, alice: Person) -> None:
    from accounts.models import ApiKey

    pk = submit(api, alice)["id"]
    _, second_key = ApiKey.create(alice.user, "second")

    assert api.post(f"fetch/{pk}", {"key": second_key}).json()["id"] == pk


def test_fetching_writes_nothing(api: Api, alice: Person) -> None:
    body = bodies.text2img(alice.key)
    pk = api.post("text2img", body).json()["id"]
    before = bodies.written()

    for _ in range(3):
        api.post(f"fetch/{pk}", body)

    assert bodies.written() == before
