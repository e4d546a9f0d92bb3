"""Every refusal of the V3 dialect: its words, its status with and without real codes, and what it must not leave."""

import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from accounts import quotas
from accounts.models import ApiKey, Plan, Usage
from generation import estimate, services
from generation.models import Generation
from tests.conftest import Api, Person
from tests.v3 import bodies

REAL = pytest.mark.parametrize("real", [False, True], ids=["always 200", "real codes"])
NOON = datetime(2026, 11, 23, 12, 0, 18, tzinfo=UTC)
INVALID_KEY = {
    "status": "error",
    "message": "Invalid Api Key",
    "tip": "Send your API key as `key` in the body. Keys are made on http://testserver/keys/.",
}


def refused(reply: Any, status: int, real: bool, body: dict[str, Any]) -> bool:
    return (reply.status_code, reply.json()) == (status if real else 200, body)


@REAL
@pytest.mark.parametrize("flaw", ["missing", "unknown", "revoked", "expired", "of a closed account"])
@pytest.mark.parametrize("endpoint", ["img2img", "fetch/1", "system_load"])
def test_a_bad_key(api: Api, alice: Person, settings: Any, real: bool, flaw: str, endpoint: str) -> None:
    settings.V3_REAL_STATUS_CODES = real
    keys = ApiKey.objects.filter(pk=alice.api_key.pk)
    body = bodies.img2img(alice.key)
    match flaw:
        case "missing":
            del body["key"]
        case "unknown":
            body["key"] = "sk_unknown"
        case "revoked":
            keys.update(revoked_at=timezone.now())
        case "expired":
            keys.update(expires_at=timezone.now() - timedelta(seconds=1))
        case _:
            alice.user.is_active = False
            alice.user.save()
    before = bodies.written()

    reply = api.post(endpoint, body)

    assert refused(reply, 401, real, INVALID_KEY)
    assert bodies.written() == before


@REAL
def test_not_post_and_not_readable(api: Api, settings: Any, real: bool) -> None:
    settings.V3_REAL_STATUS_CODES = real
    answer = {"status": "error", "message": "Invalid API Request"}

    assert refused(
        api.client.get("/api/v3/img2img"), 400, real, answer | {"tip": "Make sure you are sending a POST request."}
    )
    assert refused(api.post("img2img", "{"), 400, real, answer | {"tip": "The request body is not valid JSON."})
    tip = "There is no such endpoint; see http://testserver/api/docs."
    assert refused(api.post("nonsense"), 404, real, answer | {"tip": tip})


@REAL
def test_validation_names_every_bad_field_at_once(api: Api, alice: Person, settings: Any, real: bool) -> None:
    settings.V3_REAL_STATUS_CODES = real
    before = bodies.written()

    reply = api.post("img2img", {"key": alice.key, "prompt": " ", "samples": 9, "seed": "x", "webhook": "mail@me"})

    words = {
        "prompt": ["The prompt field is required."],
        "samples": ["The samples must be between 1 and 4."],
        "seed": ["The seed must be a number."],
        "webhook": ["The webhook must be an http or https address."],
        "init_image": ["The init image field is required."],
    }
    assert refused(reply, 400, real, {"status": "error", "message": words})
    assert bodies.written() == before


@REAL
@pytest.mark.parametrize("body", [bodies.text2img, bodies.inpaint])
def test_too_few_credits(api: Api, person: Any, settings: Any, real: bool, body: Any) -> None:
    settings.V3_REAL_STATUS_CODES = real
    dora = person("dora", credits=3)
    before = bodies.written()

    reply = api.post("inpaint" if body is bodies.inpaint else "text2img", body(dora.key, samples=4))

    assert refused(
        reply,
        402,
        real,
        {
            "status": "error",
            "message": "Insufficient credits: this request needs 4 and you have 3.",
            "tip": "Buy credits on http://testserver/billing/",
        },
    )
    assert (dora.balance, bodies.written()) == (3, before)


@REAL
def test_the_rate_limit(api: Api, person: Any, settings: Any, monkeypatch: Any, real: bool) -> None:
    monkeypatch.setattr(timezone, "now", lambda: NOON)
    settings.V3_REAL_STATUS_CODES = real
    emil = person("emil", credits=10, plan=Plan.objects.create(name="slow", requests_per_minute=2))
    accepted = [api.post("inpaint", bodies.inpaint(emil.key)).json()["status"] for _ in range(2)]
    before = bodies.written()

    reply = api.post("inpaint", bodies.inpaint(emil.key))

    assert accepted == ["processing", "processing"]
    assert refused(
        reply, 429, real, {"status": "error", "message": "Rate limit exceeded", "tips": "Try again in 42 seconds."}
    )
    assert reply["Retry-After"] == "42"
    assert (emil.balance, bodies.written()) == (8, before)


def test_the_rate_limit_is_over_in_the_next_minute(api: Api, person: Any, monkeypatch: Any) -> None:
    emil = person("emil", credits=10, plan=Plan.objects.create(name="slow", requests_per_minute=1))

    answers = []
    for seconds in (0, 41, 42):
        monkeypatch.setattr(timezone, "now", lambda: NOON + timedelta(seconds=seconds))  # noqa: B023
        answers.append(api.post("text2img", bodies.text2img(emil.key)).json()["status"])

    assert answers == ["processing", "error", "processing"]


@REAL
def test_the_monthly_quota(api: Api, person: Any, settings: Any, real: bool) -> None:
    settings.V3_REAL_STATUS_CODES = real
    emil = person("emil", credits=10, plan=Plan.objects.create(name="small", images_per_month=3))
    accepted = api.post("text2img", bodies.text2img(emil.key, samples=2)).json()
    before = bodies.written()

    reply = api.post("inpaint", bodies.inpaint(emil.key, samples=2))

    words = "Your monthly limit exceeded, upgrade subscription now on http://testserver/billing/"
    assert refused(reply, 403, real, {"status": "error", "message": words})
    month = Usage.objects.get(period=f"{timezone.now():%Y-%m}")
    assert (emil.balance, bodies.written(), month.count) == (8, before, 2)
    services.cancel(accepted["id"])
    month.refresh_from_db()
    assert month.count == 0
    assert api.post("text2img", bodies.text2img(emil.key, samples=3)).json()["status"] == "processing"


@REAL
def test_the_daily_quota(api: Api, person: Any, settings: Any, real: bool) -> None:
    settings.V3_REAL_STATUS_CODES = real
    emil = person("emil", credits=10, plan=Plan.objects.create(name="small", images_per_day=1))
    before = bodies.written()

    reply = api.post("inpaint", bodies.inpaint(emil.key, samples=2))

    words = "Your daily limit exceeded, upgrade subscription now on http://testserver/billing/"
    assert refused(reply, 403, real, {"status": "error", "message": words})
    assert (emil.balance, bodies.written()) == (10, before)


@REAL
def test_generations_at_once(api: Api, person: Any, settings: Any, real: bool) -> None:
    settings.V3_REAL_STATUS_CODES = real
    emil = person("emil", credits=10, plan=Plan.objects.create(name="small", generations_at_once=1))
    first = api.post("text2img", bodies.text2img(emil.key)).json()
    before = bodies.written()

    reply = api.post("inpaint", bodies.inpaint(emil.key))

    words = "Generations at once: 1 is your limit; try again when one has ended."
    assert refused(reply, 429, real, {"status": "error", "message": "Rate limit exceeded", "tips": words})
    assert (reply["Retry-After"], bodies.written()) == ("5", before)
    services.cancel(first["id"])
    assert api.post("text2img", bodies.text2img(emil.key)).json()["status"] == "processing"


@REAL
def test_a_plan_limits_the_largest_side(api: Api, person: Any, settings: Any, real: bool) -> None:
    settings.V3_REAL_STATUS_CODES = real
    emil = person("emil", credits=10, plan=Plan.objects.create(name="small", largest_side_pixels=256))

    refusal = api.post("text2img", bodies.text2img(emil.key, width=512))
    default = api.post("text2img", {"key": emil.key, "prompt": "a cat"}).json()

    words = {"width": ["The width must be between 64 and 256."]}
    assert refused(refusal, 400, real, {"status": "error", "message": words})
    assert (default["meta"]["W"], default["meta"]["H"]) == (256, 256)


@REAL
def test_not_found_and_failed(api: Api, alice: Person, settings: Any, real: bool) -> None:
    settings.V3_REAL_STATUS_CODES = real
    pk = api.post("text2img", bodies.text2img(alice.key)).json()["id"]
    services.cancel(pk)

    unknown = api.post("fetch/0", {"key": alice.key})
    canceled = api.post(f"fetch/{pk}", {"key": alice.key})

    tip = "Check the id and that the key belongs to the account that made the request."
    assert refused(unknown, 404, real, {"status": "failed", "message": "Request not found", "output": [], "tip": tip})
    assert refused(canceled, 400, real, {"status": "failed", "id": pk, "message": "Canceled", "output": []})


@REAL
def test_what_works_is_200_anyway(api: Api, alice: Person, settings: Any, real: bool) -> None:
    settings.V3_REAL_STATUS_CODES = real

    pk = api.post("text2img", bodies.text2img(alice.key)).json()["id"]

    assert api.post(f"fetch/{pk}", {"key": alice.key}).status_code == 200
    assert api.post("system_load", {"key": alice.key}).status_code == 200


@REAL
def test_a_server_fault_is_500_in_the_same_shape_and_tells_nothing_of_the_inside(
    api: Api, alice: Person, settings: Any, real: bool, monkeypatch: Any, caplog: Any
) -> None:
    settings.V3_REAL_STATUS_CODES = real

    def broken(*_: Any) -> float:
        raise DatabaseError("the disk of db7 is full")

    monkeypatch.setattr(estimate, "queue_seconds", broken)

    reply = api.post(f"system_load?key={alice.key}", {"key": alice.key}, headers={"X-API-Key": alice.key})

    assert (reply.status_code, reply.json()) == (
        500,
        {
            "status": "error",
            "message": "Server error",
            "tip": "This is our fault. Nothing was charged; please try again.",
        },
    )
    assert "the disk of db7 is full" in caplog.text
    assert alice.key not in caplog.text


@pytest.mark.parametrize("fault", [DatabaseError, InterfaceError])
def test_an_answer_is_not_lost_when_the_rate_headers_are(
    api: Api, alice: Person, monkeypatch: Any, caplog: Any, fault: type[Exception]
) -> None:
    def broken(*_: Any) -> float:
        raise fault("the disk of db7 is full")

    monkeypatch.setattr(quotas, "rate", broken)

    accepted = api.post("text2img", bodies.text2img(alice.key))
    monkeypatch.setattr(estimate, "queue_seconds", broken)
    failed = api.post("system_load", {"key": alice.key})

    assert accepted.json()["id"] == Generation.objects.get().pk
    assert (failed.status_code, failed.json()["message"]) == (500, "Server error")
    assert not [name for reply in (accepted, failed) for name in reply.headers if "RateLimit" in name]
    assert "the disk of db7 is full" in caplog.text


def test_the_key_is_in_no_log_line_whatever_happens(api: Api, alice: Person, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.INFO, "django.db.backends")
    key = alice.key

    api.post("text2img", bodies.text2img(key))
    api.post("text2img", bodies.text2img(key, prompt=""))
    api.post("text2img", f'{{"key": "{key}", broken')
    api.post(f"fetch/1?key={key}", headers={"key": key, "Authorization": f"Bearer {key}"})
    api.post(f"nonsense?key={key}", {"key": key})
    api.client.get(f"/api/v3/text2img?key={key}")
    api.client.get(f"/nowhere?key={key}")
    api.post("system_load", {"key": key[:-1]})

    assert key[:-1] not in caplog.text


def test_no_answer_repeats_the_key(api: Api, alice: Person) -> None:
    answers = [
        api.post("text2img", bodies.text2img(alice.key)),
        api.post("text2img", bodies.text2img(alice.key, webhook=None, prompt=None)),
        api.post("system_load", {"key": alice.key}),
        api.post("fetch/5", {"key": alice.key}),
        api.post("nonsense", {"key": alice.key}),
        api.post(f"text2img?key={alice.key}", "{"),
    ]

    assert not [answer for answer in answers if alice.key in answer.content.decode()]


def test_no_success_has_a_key_named_error(api: Api, alice: Person, make: Any) -> None:
    success = make("text2img", bodies.text2img(alice.key))

    assert '"error"' not in json.dumps(success)
