"""POST /api/v3/price"""

from typing import Any

import pytest

from accounts.models import Plan
from tests.conftest import Api, Person
from tests.v3 import bodies


def price(api: Api, person: Person, **body: Any) -> dict[str, Any]:
    answer: dict[str, Any] = api.post("price", {"key": person.key} | body).json()
    return answer


@pytest.mark.parametrize(
    ("body", "mode", "each"),
    [
        ({}, "text2img", 1),
        ({"width": 1024, "height": 1024}, "text2img", 4),
        ({"num_inference_steps": 51}, "text2img", 2),
        ({"mode": "img2img", "num_inference_steps": 51}, "img2img", 2),
        ({"mode": "img2img", "num_inference_steps": 51, "strength": 0.5}, "img2img", 1),
        ({"mode": "inpaint", "width": 1024, "height": 1024}, "inpaint", 3),
        ({"init_image": "https://example.org/bench.png"}, "img2img", 1),
        ({"init_image": "https://example.org/bench.png", "mask_image": "https://example.org/mask.png"}, "inpaint", 1),
        ({"init_image": "https://example.org/bench.png", "mode": "text2img"}, "text2img", 1),
    ],
)
def test_it_says_what_a_request_would_cost_and_writes_nothing(
    api: Api, alice: Person, body: dict[str, Any], mode: str, each: int
) -> None:
    rows = bodies.written()

    assert price(api, alice, samples="3", **body) == {
        "status": "success",
        "mode": mode,
        "samples": 3,
        "credits": 3 * each,
        "credits_per_image": each,
        "balance": 1000,
    }
    assert bodies.written() == rows


@pytest.mark.parametrize("endpoint", ["text2img", "img2img", "inpaint"])
def test_it_is_what_the_same_request_then_sets_aside(api: Api, alice: Person, endpoint: str) -> None:
    body = getattr(bodies, endpoint)(alice.key, width=512, height=1024, num_inference_steps=41, samples=2)

    told = api.post("price", body | {"mode": endpoint}).json()
    assert api.post(endpoint, body).json()["status"] == "processing"

    assert told["credits"] == 1000 - alice.balance > 0


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("width", 63, "The width must be between 64 and 1024."),
        ("height", 100, "The height must be a multiple of 8."),
        ("samples", 9, "The samples must be between 1 and 4."),
        ("strength", "much", "The strength must be a number."),
        ("prompt", "x" * 2001, "The prompt may not be longer than 2000 characters."),
        ("init_image", "nonsense", None),
        ("mode", "video", "The mode must be one of text2img, img2img, inpaint."),
        ("mode", ["img2img"], "The mode must be one of text2img, img2img, inpaint."),
        ("mode", {}, "The mode must be one of text2img, img2img, inpaint."),
    ],
)
def test_what_the_endpoints_refuse_is_refused_with_their_words(
    api: Api, alice: Person, field: str, value: Any, words: str | None
) -> None:
    answer = price(api, alice, **{field: value})

    assert answer["status"] == "error"
    assert list(answer["message"]) == [field]
    assert words is None or answer["message"][field] == [words]


def test_the_limits_of_the_plan_hold_here_too(api: Api, person: Any) -> None:
    small = person("small", plan=Plan.objects.create(name="Small", largest_side_pixels=512))

    assert price(api, small, width=1024)["message"] == {"width": ["The width must be between 64 and 512."]}


def test_an_empty_wallet_is_told_the_price(api: Api, bob: Person) -> None:
    assert price(api, bob)["credits"] == 1
    assert price(api, bob)["balance"] == 0


def test_it_needs_a_key(api: Api, db: None) -> None:
    assert api.post("price", {}).json()["message"] == "Invalid Api Key"
