"""POST /api/v3/cancel/{id} and POST /api/v3/cancel"""

from typing import Any

import pytest

from generation import services
from generation.models import Generation
from tests.conftest import Api, Person
from tests.v3 import bodies

NOT_FOUND = {
    "status": "failed",
    "message": "Request not found",
    "output": [],
    "tip": "Check the id and that the key belongs to the account that made the request.",
}


def submit(api: Api, person: Person, **changes: Any) -> int:
    return int(api.post("text2img", bodies.text2img(person.key, **changes)).json()["id"])


@pytest.mark.parametrize("is_running", [False, True], ids=["queued", "running"])
def test_it_ends_what_is_not_over_and_charges_nothing(api: Api, alice: Person, is_running: bool) -> None:
    pk = submit(api, alice, samples=3, track_id=7)
    if is_running:
        services.claim(pk)

    reply = api.post(f"cancel/{pk}", {"key": alice.key})

    assert reply.json() == {
        "track_id": 7,
        "status": "success",
        "id": pk,
        "message": "Canceled; nothing was charged.",
        "output": [],
    }
    assert Generation.objects.get(pk=pk).status == "canceled"
    assert alice.balance == 1000


def test_the_id_may_come_in_every_way_and_repeating_it_answers_the_same(api: Api, alice: Person) -> None:
    pk = submit(api, alice)
    key = {"key": alice.key}

    answers = [
        api.post(f"cancel/{pk}", key),
        api.post(f"cancel/{pk}/", key),
        api.post("cancel", key | {"request_id": pk}),
        api.post(f"cancel?request_id={pk}", key),
        api.client.post(f"/api/v3/cancel/{pk}", headers=key),
    ]

    assert [answer.json() for answer in answers] == [answers[0].json()] * 5
    assert answers[0].json()["status"] == "success"


@pytest.mark.parametrize(("real", "status_code"), [(False, 200), (True, 400)])
def test_a_final_state_stays_as_it_is(api: Api, alice: Person, settings: Any, real: bool, status_code: int) -> None:
    settings.V3_REAL_STATUS_CODES = real
    pk = submit(api, alice)
    claim = services.claim(pk)
    assert claim
    services.succeed(claim, [False], 1.0, 1.0, "tiny", "", "")

    reply = api.post(f"cancel/{pk}", {"key": alice.key})

    assert (reply.status_code, reply.json()) == (
        status_code,
        {
            "status": "error",
            "message": "The generation ended before it could be canceled: success.",
            "tip": "Fetch it by its id.",
        },
    )
    assert (Generation.objects.get(pk=pk).status, alice.balance) == ("success", 999)


@pytest.mark.parametrize("wanted", ["0", "x", "99999999999999999999", "-1"])
def test_an_unknown_id_is_not_found(api: Api, alice: Person, wanted: str) -> None:
    assert api.post(f"cancel/{wanted}", {"key": alice.key}).json() == NOT_FOUND
    assert api.post("cancel", {"key": alice.key, "request_id": wanted}).json() == NOT_FOUND


def test_another_accounts_generation_is_not_found_and_goes_on(api: Api, alice: Person, bob: Person) -> None:
    pk = submit(api, alice)

    assert api.post(f"cancel/{pk}", {"key": bob.key}).json() == NOT_FOUND
    assert api.post(f"cancel/{pk}", {"key": "sk_wrong"}).json()["message"] == "Invalid Api Key"
    assert Generation.objects.get(pk=pk).status == "queued"
