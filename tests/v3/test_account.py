"""POST /api/v3/account, and the headers that tell callers how many requests are left."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Plan
from generation import services
from tests.conftest import Api, Person
from tests.v3 import bodies

NOON = datetime(2026, 11, 23, 12, 0, 18, tzinfo=UTC)
HEADERS = [f"{prefix}RateLimit-{name}" for prefix in ("", "X-") for name in ("Limit", "Remaining", "Reset")]


@pytest.fixture(autouse=True)
def _noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timezone, "now", lambda: NOON)


def rates(reply: Any) -> list[str | None]:
    return [reply.get(name) for name in HEADERS]


def test_it_tells_balance_limits_use_and_when_they_begin_again(api: Api, person: Any) -> None:
    plan = Plan.objects.create(name="small", requests_per_minute=9, images_per_day=30, most_steps=21)
    emil = person("emil", credits=50, plan=plan, time_zone="Europe/Berlin")
    pks = [api.post("text2img", bodies.text2img(emil.key, samples=2)).json()["id"] for _ in range(3)]
    services.cancel(pks[0])

    reply = api.post("account", {"key": emil.key}).json()

    assert reply == {
        "status": "success",
        "email": "emil@example.org",
        "plan": "small",
        "time_zone": "Europe/Berlin",
        "balance": 46,
        "limits": {
            "largest_side_pixels": 1024,
            "most_steps": 21,
            "most_samples": 4,
            "requests_per_minute": 9,
            "images_per_day": 30,
            "images_per_month": None,
            "generations_at_once": None,
        },
        "used": {"requests_per_minute": 3, "images_per_day": 4, "images_per_month": 4, "generations_at_once": 2},
        "resets_at": {
            "requests_per_minute": "2026-11-23T12:01:00+00:00",
            "images_per_day": "2026-11-24T00:00:00+01:00",
            "images_per_month": "2026-12-01T00:00:00+01:00",
        },
        "key": {
            "name": "test",
            "spending_cap_credits": None,
            "spent_credits": 4,
            "resets_at": "2026-12-01T00:00:00+01:00",
        },
    }


def test_an_account_without_a_plan_has_no_limits_to_tell(api: Api, alice: Person) -> None:
    reply = api.post("account", {"key": alice.key})

    assert (reply.json()["plan"], reply.json()["limits"]["images_per_month"]) == (None, None)
    assert rates(reply) == [None] * 6


def test_it_needs_a_key(api: Api) -> None:
    assert api.post("account").json()["message"] == "Invalid Api Key"


def test_every_reply_tells_how_many_requests_are_left(api: Api, person: Any) -> None:
    emil = person("emil", credits=10, plan=Plan.objects.create(name="slow", requests_per_minute=2))

    before = api.post("system_load", {"key": emil.key})
    accepted = [api.post("text2img", bodies.text2img(emil.key)) for _ in range(2)]
    refused = api.post("text2img", bodies.text2img(emil.key))
    invalid = api.post("text2img", bodies.text2img(emil.key, prompt=""))
    unknown = api.post("text2img", bodies.text2img("sk_unknown"))

    assert rates(before) == ["2", "2", "42"] * 2
    assert [rates(reply) for reply in accepted] == [["2", "1", "42"] * 2, ["2", "0", "42"] * 2]
    assert rates(refused) == rates(invalid) == ["2", "0", "42"] * 2
    assert refused["Retry-After"] == "42"
    assert rates(unknown) == [None] * 6


def test_pages_of_other_sites_may_read_the_headers(api: Api, alice: Person) -> None:
    reply = api.post("system_load", {"key": alice.key}, headers={"Origin": "https://elsewhere.example"})

    assert set(HEADERS) | {"Retry-After"} <= set(reply["Access-Control-Expose-Headers"].split(", "))


def test_the_next_minute_begins_anew(api: Api, person: Any, monkeypatch: Any) -> None:
    emil = person("emil", credits=10, plan=Plan.objects.create(name="slow", requests_per_minute=2))
    api.post("text2img", bodies.text2img(emil.key))
    monkeypatch.setattr(timezone, "now", lambda: NOON + timedelta(seconds=42))

    assert rates(api.post("system_load", {"key": emil.key})) == ["2", "2", "60"] * 2
