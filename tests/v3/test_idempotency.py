"""The idempotency key: a request that is repeated is made once."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import ApiKey, Plan
from billing.models import Entry
from generation import idempotency, services, storage
from generation.models import Generation, IdempotencyKey
from tests.conftest import Api, Person
from tests.racing import race
from tests.v3 import bodies

REUSED = {
    "status": "error",
    "message": {
        "idempotency_key": [
            "The idempotency key was used with another body in the last 24 hours; a new request needs a new key."
        ]
    },
}


def test_the_same_key_and_body_answer_the_same_generation_while_it_runs_and_after(
    transactional_db: None, api: Api, alice: Person, work: Callable[[], None]
) -> None:
    body = bodies.img2img(alice.key, idempotency_key="order 66")

    first, second = api.post("img2img", body), api.post("img2img", body)
    work()
    third = api.post("img2img", body)

    assert first.json() == second.json()
    assert (first.json()["status"], third.json()["status"]) == ("processing", "success")
    assert third.json()["id"] == first.json()["id"]
    assert [reply.get("Idempotent-Replayed") for reply in (first, second, third)] == [None, "true", "true"]
    assert Generation.objects.count() == 1
    assert Entry.objects.filter(kind="hold").count() == 1
    assert bodies.written()["inputs"] == 1


def test_the_key_may_come_as_a_header_and_the_body_may_be_written_differently(api: Api, alice: Person) -> None:
    body = bodies.text2img(alice.key, negative_prompt="dogs")
    other_key = ApiKey.create(alice.user, "second")[1]
    header = {"Idempotency-Key": "a"}

    replies = [
        api.post("text2img", body, headers=header),
        api.post("text2img", dict(reversed(body.items())), headers=header),
        api.post("text2img", body | {"key": other_key}, headers=header),
        api.post("text2img", body | {"idempotency_key": "a"}),
        api.post("text2img", body | {"idempotency_key": "a"}, headers={"Idempotency-Key": "b"}),
        api.post("text2img", body | {"unknown": 5}, headers=header),
    ]

    assert {reply.json()["id"] for reply in replies} == {Generation.objects.get().pk}


@pytest.mark.parametrize(("real", "status_code"), [(False, 200), (True, 400)])
@pytest.mark.parametrize("changes", [{"prompt": "a dog"}, {"seed": 5}, {"track_id": 5}])
def test_another_body_is_refused_and_nothing_is_written(
    api: Api, alice: Person, settings: Any, real: bool, status_code: int, changes: dict[str, Any]
) -> None:
    settings.V3_REAL_STATUS_CODES = real
    body = bodies.text2img(alice.key, idempotency_key="a")
    api.post("text2img", body)
    before = bodies.written()

    reply = api.post("text2img", body | changes)

    assert (reply.status_code, reply.json()) == (status_code, REUSED)
    assert bodies.written() == before


def test_another_endpoint_is_another_request(api: Api, alice: Person) -> None:
    body = bodies.img2img(alice.key, idempotency_key="a")
    api.post("img2img", body)

    assert api.post("text2img", body).json() == REUSED


def test_keys_of_different_accounts_have_nothing_to_do_with_each_other(api: Api, alice: Person, person: Any) -> None:
    dora = person("dora", credits=10)
    body = bodies.text2img(alice.key, idempotency_key="a")

    mine, hers = api.post("text2img", body).json(), api.post("text2img", body | {"key": dora.key}).json()

    assert mine["id"] != hers["id"]
    assert (alice.balance, dora.balance) == (999, 9)


def test_a_request_that_was_refused_may_be_repeated(api: Api, bob: Person) -> None:
    from billing import ledger

    body = bodies.text2img(bob.key, idempotency_key="a")
    refused = api.post("text2img", body).json()
    ledger.grant(bob.user.pk, 5, "test:bob")

    accepted = api.post("text2img", body).json()

    assert (refused["status"], accepted["status"]) == ("error", "processing")


def test_what_was_accepted_is_answered_again_though_it_would_be_refused_by_now(
    api: Api, alice: Person, settings: Any
) -> None:
    body = bodies.text2img(alice.key, width=512, idempotency_key="a")
    first = api.post("text2img", body).json()
    alice.user.plan = Plan.objects.create(name="tiny", largest_side_pixels=64, requests_per_minute=0)
    alice.user.save()

    assert api.post("text2img", body).json()["id"] == first["id"]


def test_after_a_day_the_key_is_free_again(api: Api, alice: Person) -> None:
    body = bodies.text2img(alice.key, idempotency_key="a")
    first = api.post("text2img", body).json()
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=23, minutes=59))
    second = api.post("text2img", body).json()
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=24))
    third = api.post("text2img", body | {"prompt": "a dog"}).json()

    assert first["id"] == second["id"] != third["id"]
    assert IdempotencyKey.objects.get().generation_id == third["id"]


def test_old_keys_are_forgotten_and_young_ones_kept(api: Api, alice: Person) -> None:
    for name in "ab":
        api.post("text2img", bodies.text2img(alice.key, idempotency_key=name))
    IdempotencyKey.objects.filter(key="a").update(created_at=timezone.now() - timedelta(hours=25))

    idempotency.forget()

    assert IdempotencyKey.objects.get().key == "b"


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("x" * 256, "The idempotency key may not be longer than 255 characters."),
        (["a"], "The idempotency key must be a text."),
        ("a\x00b", "The idempotency key contains characters that are not text."),
    ],
)
def test_a_key_that_cannot_be_kept_is_refused_with_every_other_flaw(
    api: Api, alice: Person, key: Any, words: str
) -> None:
    reply = api.post("text2img", bodies.text2img(alice.key, samples=9, idempotency_key=key)).json()

    assert reply["message"] == {"idempotency_key": [words], "samples": ["The samples must be between 1 and 4."]}
    assert not Generation.objects.exists()


@pytest.mark.parametrize("nothing", ["", None, "null", " "])
def test_a_key_that_says_nothing_is_none(api: Api, alice: Person, nothing: str | None) -> None:
    body = bodies.text2img(alice.key, idempotency_key=nothing)

    assert api.post("text2img", body).json()["id"] != api.post("text2img", body).json()["id"]
    assert not IdempotencyKey.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_16_racing_requests_make_one_generation(alice: Person) -> None:
    body = json.dumps(bodies.img2img(alice.key, idempotency_key="a"))

    replies = race(16, lambda k: Client().post("/api/v3/img2img", body, content_type="application/json").json())

    assert {reply["id"] for reply in replies if not isinstance(reply, Exception)} == {Generation.objects.get().pk}
    assert len(replies) == 16
    assert alice.balance == 999
    assert bodies.written()["inputs"] == 1


@pytest.mark.django_db(transaction=True)
def test_a_crash_before_the_answer_costs_nothing_twice(api: Api, alice: Person, monkeypatch: Any) -> None:
    body = bodies.text2img(alice.key, idempotency_key="a")
    monkeypatch.setattr(storage, "url", lambda *_: 1 / 0)  # the answer can't be written
    crashed = api.post("text2img", body)
    monkeypatch.undo()

    reply = api.post("text2img", body).json()

    assert (crashed.status_code, reply["status"]) == (500, "processing")
    assert Generation.objects.get().pk == reply["id"]
    assert alice.balance == 999


@pytest.mark.django_db(transaction=True)
def test_a_crash_before_the_commit_leaves_the_key_free(api: Api, alice: Person, monkeypatch: Any) -> None:
    body = bodies.text2img(alice.key, idempotency_key="a")
    monkeypatch.setattr(services.outbox, "record_submission", lambda *_: 1 / 0)  # the last thing of the transaction
    crashed = api.post("text2img", body)
    monkeypatch.undo()
    nothing = (Generation.objects.count(), IdempotencyKey.objects.count(), alice.balance)

    reply = api.post("text2img", body).json()

    assert (crashed.status_code, nothing, reply["status"]) == (500, (0, 0, 1000), "processing")
