"""POST /api/v3/reproduce/{id}"""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from PIL import Image

from generation import images, storage
from generation.models import Generation
from tests.conftest import Api, Person
from tests.racing import race
from tests.v3 import bodies
from tests.v3.test_idempotency import REUSED


def submitted(api: Api, person: Person, address: str = "text2img", **changes: Any) -> int:
    body = {"text2img": bodies.text2img, "img2img": bodies.img2img}[address](person.key, **changes)
    return int(api.post(address, body).json()["id"])


def reproduced(api: Api, person: Person, pk: int, work: Callable[[], None]) -> dict[str, Any]:
    again = api.post(f"reproduce/{pk}", {"key": person.key}).json()
    assert again["status"] == "processing"
    work()
    return dict(api.post(f"fetch/{again['id']}", {"key": person.key}).json())


@pytest.fixture(autouse=True)
def served(engine: Any, settings: Any) -> None:
    """Let the site serve what the tests' engine is."""
    settings.MODEL = engine.model_name


@pytest.mark.parametrize("address", ["text2img", "img2img"])
def test_the_same_comes_out_and_costs_the_same(api: Api, alice: Person, work: Callable[[], None], address: str) -> None:
    pk = submitted(api, alice, address, samples=2)
    work()

    answer = reproduced(api, alice, pk, work)

    assert answer["status"] == "success"
    assert answer["reproduction"] == {"of": pk, "largest_difference": 0}
    first, second = (Generation.objects.get(pk=number) for number in (pk, answer["id"]))
    assert second.params == first.params
    assert second.charged_credits == first.charged_credits > 0


def test_a_picture_that_came_out_otherwise_is_measured(api: Api, alice: Person, work: Callable[[], None]) -> None:
    pk = submitted(api, alice)
    work()
    original = Generation.objects.get(pk=pk)
    changed = images.decode(storage.read_image(original, 0))
    r, g, b = changed.getpixel((3, 5))
    changed.putpixel((3, 5), (r, g, b + 40 if b < 128 else b - 40))
    storage.save_image(original, 0, images.encode_png(changed, "", {}), as_base64=False)

    answer = reproduced(api, alice, pk, work)

    assert answer["reproduction"] == {"of": pk, "largest_difference": 40}


def test_no_difference_is_told_where_the_first_picture_is_gone(
    api: Api, alice: Person, work: Callable[[], None]
) -> None:
    pk = submitted(api, alice)
    work()
    storage.delete_images(Generation.objects.get(pk=pk))

    answer = reproduced(api, alice, pk, work)

    assert answer["reproduction"] == {"of": pk, "largest_difference": None}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": "failed", "charged_credits": 0}, "Only a generation that succeeded can be made again."),
        (
            {"images_expired_at": "2026-11-01T00:00Z"},
            "Its images are no longer stored, so there is nothing to compare with.",
        ),
        ({"model": "older"}, "It was made by older, and {model} is served now."),
    ],
)
def test_what_cannot_be_compared_is_refused_and_costs_nothing(
    api: Api, alice: Person, work: Callable[[], None], engine: Any, change: dict[str, Any], reason: str
) -> None:
    pk = submitted(api, alice)
    work()
    Generation.objects.filter(pk=pk).update(**change)
    balance = alice.balance

    answer = api.post(f"reproduce/{pk}", {"key": alice.key}).json()

    assert answer == {
        "status": "error",
        "message": f"It can't be reproduced. {reason.format(model=engine.model_name)}",
        "tip": "Submit its parameters as a new request.",
    }
    assert Generation.objects.count() == 1
    assert alice.balance == balance


def test_a_start_image_that_is_lost_is_told_and_costs_nothing(
    api: Api, alice: Person, work: Callable[[], None]
) -> None:
    pk = submitted(api, alice, "img2img")
    work()
    storage.delete_inputs(Generation.objects.get(pk=pk))

    answer = api.post(f"reproduce/{pk}", {"key": alice.key}).json()

    assert answer["message"] == "It can't be reproduced. Its start image is no longer stored."
    assert Generation.objects.count() == 1


def test_the_start_image_outlives_the_first_generation(api: Api, alice: Person, work: Callable[[], None]) -> None:
    pk = submitted(api, alice, "img2img")
    work()
    again = api.post(f"reproduce/{pk}", {"key": alice.key}).json()["id"]

    storage.delete_inputs(Generation.objects.get(pk=pk))
    work()

    assert Generation.objects.get(pk=again).status == "success"


@pytest.mark.parametrize(
    ("model", "name"),
    [("/models/not-on-this-machine.safetensors", "not-on-this-machine.safetensors"), ("owner/name", "owner/name")],
)
def test_a_model_that_only_the_worker_has_is_known_by_the_same_name(
    api: Api, alice: Person, work: Callable[[], None], settings: Any, model: str, name: str
) -> None:
    pk = submitted(api, alice)
    work()
    settings.MODEL = model
    Generation.objects.filter(pk=pk).update(model=name)

    reply = api.post(f"reproduce/{pk}", {"key": alice.key}).json()

    assert (reply["status"], reply["meta"]["model"]) == ("processing", name)


@pytest.mark.parametrize("by", ["header", "body"])
def test_the_same_idempotency_key_makes_it_again_once(
    api: Api, alice: Person, work: Callable[[], None], by: str
) -> None:
    pk = submitted(api, alice, "img2img")
    work()
    balance, body = alice.balance, {"key": alice.key} | ({"idempotency_key": "a"} if by == "body" else {})
    headers = {"Idempotency-Key": "a"} if by == "header" else {}

    replies = [api.post(f"reproduce/{address}", body, headers=headers) for address in (pk, f"0{pk}")]
    Generation.objects.filter(pk=pk).update(images_expired_at="2026-11-01T00:00Z")
    replies.append(api.post(f"reproduce/{pk}", body, headers=headers))

    assert {reply.json()["id"] for reply in replies} == {Generation.objects.get(reproduces=pk).pk}
    assert [reply.get("Idempotent-Replayed") for reply in replies] == [None, "true", "true"]
    assert alice.balance == balance - 1
    assert bodies.written()["inputs"] == 2


def test_the_same_idempotency_key_for_something_else_is_refused(
    api: Api, alice: Person, work: Callable[[], None]
) -> None:
    first, second = submitted(api, alice), submitted(api, alice, idempotency_key="b")
    work()
    api.post(f"reproduce/{first}", {"key": alice.key, "idempotency_key": "a"})
    before = bodies.written()

    refused = [
        api.post(f"reproduce/{second}", {"key": alice.key, "idempotency_key": "a"}).json(),
        api.post(f"reproduce/{second}", {"key": alice.key, "idempotency_key": "b"}).json(),
    ]

    assert refused == [REUSED] * 2
    assert bodies.written() == before


def test_an_idempotency_key_that_cannot_be_kept_is_refused(api: Api, alice: Person, work: Callable[[], None]) -> None:
    pk = submitted(api, alice)
    work()

    reply = api.post(f"reproduce/{pk}", {"key": alice.key, "idempotency_key": "x" * 256}).json()

    assert reply["message"] == {"idempotency_key": ["The idempotency key may not be longer than 255 characters."]}
    assert Generation.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_8_racing_requests_make_it_again_once(api: Api, alice: Person, work: Callable[[], None]) -> None:
    pk = submitted(api, alice, "img2img")
    work()
    balance, body = alice.balance, json.dumps({"key": alice.key, "idempotency_key": "a"})

    replies = race(8, lambda k: Client().post(f"/api/v3/reproduce/{pk}", body, "application/json").json())

    assert {reply["id"] for reply in replies} == {Generation.objects.get(reproduces=pk).pk}
    assert alice.balance == balance - 1
    assert bodies.written()["inputs"] == 2


def test_what_is_of_another_account_is_not_there(api: Api, alice: Person, bob: Person) -> None:
    pk = submitted(api, alice)

    answer = api.post(f"reproduce/{pk}", {"key": bob.key}).json()

    assert (answer["status"], answer["message"]) == ("failed", "Request not found")


def test_the_largest_difference_is_of_any_channel_of_any_pixel() -> None:
    first = Image.new("RGB", (4, 4), (10, 20, 30))
    second = first.copy()
    second.putpixel((1, 2), (10, 27, 26))

    assert images.largest_difference(first, second) == 7
    assert images.largest_difference(first, first) == 0
