"""What the fields of a V3 request accept, and what they make of it."""

import json
import math
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from accounts.quotas import Limits
from generation.v3.requests import ImageToImage, Inpaint, TextToImage
from tests.conftest import Api, Person
from tests.v3 import bodies

GOOD = bodies.inpaint("sk_unused")
NOTHING = [None, "", "  ", "null", "none", "None", "NULL", " null "]


def read(changes: dict[str, Any], **limits: int) -> Inpaint:
    fields = Inpaint(data=GOOD | changes, context=asdict(Limits(**limits)))
    fields.is_valid()
    return fields


@pytest.mark.parametrize(
    ("field", "sent", "read_as"),
    [
        ("width", 512, 512),
        ("width", "512", 512),
        ("width", " 512 ", 512),
        ("width", 512.0, 512),
        ("height", "1024", 1024),
        ("height", 64, 64),
        ("samples", "4", 4),
        ("samples", 1, 1),
        ("num_inference_steps", "1", 1),
        ("num_inference_steps", 51, 51),
        ("num_inference_steps", 30, 30),
        ("guidance_scale", 7.5, 7.5),
        ("guidance_scale", "7.5", 7.5),
        ("guidance_scale", 10, 10.0),
        ("guidance_scale", 1, 1.0),
        ("guidance_scale", "20", 20.0),
        ("strength", 0, 0.0),
        ("strength", "1.0", 1.0),
        ("strength", "1e-3", 0.001),
        ("seed", 0, 0),
        ("seed", 4294967295, 4294967295),
        ("seed", "4294967295", 4294967295),
        ("seed", "0", None),
        ("seed", -1, None),
        ("seed", "-1", None),
        ("prompt", "  a cat ", "a cat"),
        ("prompt", 7, "7"),
        ("prompt", "x" * 2000, "x" * 2000),
        ("prompt", "猫 🐈", "猫 🐈"),
        ("negative_prompt", "x" * 2000, "x" * 2000),
        ("webhook", "https://example.org/hook?a=1", "https://example.org/hook?a=1"),
        ("webhook", "HTTP://example.org", "HTTP://example.org"),
        ("webhook", "https://example.org/" + "x" * 2028, "https://example.org/" + "x" * 2028),
        ("webhook", "https://example.org/" + "猫" * 676, "https://example.org/" + "猫" * 676),
        ("webhook", "0", None),
        ("track_id", "0", None),
        ("track_id", 0, 0),
        ("track_id", 12, 12),
        ("track_id", "12", "12"),
        ("track_id", 1.5, 1.5),
        ("track_id", " order 7 ", "order 7"),
    ],
)
def test_it_accepts(field: str, sent: Any, read_as: Any) -> None:
    fields = read({field: sent})

    assert fields.errors == {}
    assert fields.validated_data[field] == read_as
    assert type(fields.validated_data[field]) is type(read_as)


@pytest.mark.parametrize("field", ["safety_checker", "enhance_prompt", "base64"])
@pytest.mark.parametrize(
    ("sent", "read_as"),
    [
        *((word, True) for word in ("yes", "YES", "Yes", " yes ", "true", "True", "1", "on", "ON", True, 1)),
        *((word, False) for word in ("no", "NO", "No", "false", "False", "0", "off", "Off", False, 0)),
    ],
)
def test_it_reads_a_switch_in_any_spelling(field: str, sent: Any, read_as: bool) -> None:
    assert read({field: sent}).validated_data[field] is read_as


@pytest.mark.parametrize("nothing", NOTHING)
def test_every_word_for_nothing_gives_the_default(nothing: Any) -> None:
    optional = {
        "negative_prompt": "",
        "width": 512,
        "height": 512,
        "samples": 1,
        "num_inference_steps": 31,
        "safety_checker": True,
        "enhance_prompt": True,
        "guidance_scale": 7.5,
        "strength": 0.7,
        "seed": None,
        "base64": False,
        "webhook": None,
        "track_id": None,
    }

    fields = read(dict.fromkeys(optional, nothing))

    assert fields.errors == {}
    assert {name: fields.validated_data[name] for name in optional} == optional


@pytest.mark.parametrize("nothing", NOTHING)
def test_nothing_is_not_enough_for_what_is_required(nothing: Any) -> None:
    fields = read(dict.fromkeys(["prompt", "init_image", "mask_image"], nothing))

    assert fields.errors == {
        "prompt": ["The prompt field is required."],
        "init_image": ["The init image field is required."],
        "mask_image": ["The mask image field is required."],
    }


def test_each_endpoint_requires_only_its_own_fields() -> None:
    context = asdict(Limits())
    endpoints = [TextToImage, ImageToImage, Inpaint]

    required = [set(endpoint(data={}, context=context).fields) for endpoint in endpoints]
    missing = []
    for endpoint in endpoints:
        fields = endpoint(data={}, context=context)
        fields.is_valid()
        missing.append(set(fields.errors))

    assert missing == [{"prompt"}, {"prompt", "init_image"}, {"prompt", "init_image", "mask_image"}]
    assert required[1] - required[0] == {"init_image", "strength"}
    assert required[2] - required[1] == {"mask_image"}


@pytest.mark.parametrize(
    ("field", "sent", "words"),
    [
        ("width", 56, "The width must be between 64 and 1024."),
        ("width", 1032, "The width must be between 64 and 1024."),
        ("height", "65", "The height must be a multiple of 8."),
        ("height", 512.5, "The height must be a whole number."),
        ("width", "wide", "The width must be a number."),
        ("width", True, "The width must be a number."),
        ("width", [512], "The width must be a number."),
        ("width", {"px": 512}, "The width must be a number."),
        ("width", 10**400, "The width must be a number."),
        ("width", "9" * 400, "The width must be a number."),
        ("width", 1e308, "The width must be between 64 and 1024."),
        ("samples", 0, "The samples must be between 1 and 4."),
        ("samples", 5, "The samples must be between 1 and 4."),
        ("num_inference_steps", 0, "The num inference steps must be between 1 and 51."),
        ("num_inference_steps", 52, "The num inference steps must be between 1 and 51."),
        ("guidance_scale", 0.99, "The guidance scale must be between 1 and 20."),
        ("guidance_scale", 20.01, "The guidance scale must be between 1 and 20."),
        ("guidance_scale", math.nan, "The guidance scale must be a number."),
        ("guidance_scale", math.inf, "The guidance scale must be a number."),
        ("guidance_scale", "NaN", "The guidance scale must be a number."),
        ("guidance_scale", "-Infinity", "The guidance scale must be a number."),
        ("strength", -0.01, "The strength must be between 0 and 1."),
        ("strength", 1.01, "The strength must be between 0 and 1."),
        ("seed", -2, "The seed must be between 0 and 4294967295."),
        ("seed", 2**32, "The seed must be between 0 and 4294967295."),
        ("seed", 0.5, "The seed must be a whole number."),
        ("seed", False, "The seed must be a number."),
        ("seed", [], "The seed must be a number."),
        ("safety_checker", 2, "The safety checker must be yes or no."),
        ("safety_checker", "maybe", "The safety checker must be yes or no."),
        ("safety_checker", ["yes"], "The safety checker must be yes or no."),
        ("safety_checker", math.nan, "The safety checker must be yes or no."),
        ("prompt", "x" * 2001, "The prompt may not be longer than 2000 characters."),
        ("prompt", ["a cat"], "The prompt must be a text."),
        ("prompt", {"a": "cat"}, "The prompt must be a text."),
        ("prompt", True, "The prompt must be a text."),
        ("prompt", math.nan, "The prompt must be a text."),
        ("prompt", math.inf, "The prompt must be a text."),
        ("prompt", "a\x00cat", "The prompt contains characters that are not text."),
        ("prompt", "\ud83d", "The prompt contains characters that are not text."),
        ("negative_prompt", "x" * 2001, "The negative prompt may not be longer than 2000 characters."),
        ("negative_prompt", "\udfff", "The negative prompt contains characters that are not text."),
        ("webhook", "ftp://example.org/", "The webhook must be an http or https address."),
        ("webhook", "example.org/hook", "The webhook must be an http or https address."),
        ("webhook", "https://", "The webhook must be an http or https address."),
        ("webhook", "https://[::1", "The webhook must be an http or https address."),
        ("webhook", "https://example.org:99999/", "The webhook must be an http or https address."),
        ("webhook", "https://example.org/" + "x" * 2048, "The webhook may not be longer than 2048 characters."),
        ("webhook", "https://example.org/" + "猫" * 677, "The webhook may not be longer than 2048 bytes in UTF-8."),
        ("webhook", "https://example.org/\x00", "The webhook contains characters that are not text."),
        ("webhook", 1, "The webhook must be an http or https address."),
        ("track_id", True, "The track id must be a text or a number."),
        ("track_id", ["a"], "The track id must be a text or a number."),
        ("track_id", {}, "The track id must be a text or a number."),
        ("track_id", math.nan, "The track id must be a text or a number."),
        ("track_id", math.inf, "The track id must be a text or a number."),
        ("track_id", "\x00", "The track id contains characters that are not text."),
        ("track_id", "\ud800", "The track id contains characters that are not text."),
        ("track_id", "x" * 256, "The track id may not be longer than 255 characters."),
        ("track_id", 10**300, "The track id may not be longer than 255 characters."),
        ("init_image", 5, "The init image must be a link or base64 text."),
        ("init_image", ["https://example.org/a.png"], "The init image must be a link or base64 text."),
        ("init_image", "not base64!", "The image must be an http(s) link, a data: URL or base64."),
        (
            "init_image",
            "aGVsbG8=",
            "The file is not an image that can be read; send PNG, JPEG, WebP, GIF, BMP or AVIF.",
        ),
        ("init_image", "data:image/png,rawtext", "A data: URL of an image must be base64 (data:image/png;base64,…)."),
        ("init_image", "\ud800", "The image must be an http(s) link, a data: URL or base64."),
        ("mask_image", "\x00", "The image must be an http(s) link, a data: URL or base64."),
        ("mask_image", "http://", "The mask image must be an http or https address, a data: URL or base64 text."),
        ("mask_image", "http://a/\x00", "The mask image must be an http or https address, a data: URL or base64 text."),
    ],
)
def test_it_refuses(field: str, sent: Any, words: str) -> None:
    assert read({field: sent}).errors == {field: [words]}


@pytest.mark.parametrize(
    "sent",
    [
        bodies.as_text(bodies.picture()),
        bodies.as_text(bodies.picture()).rstrip("="),
        bodies.as_text(bodies.picture()).replace("+", "-").replace("/", "_"),
        bodies.as_text(bodies.picture()).replace("+", " "),
        "\r\n".join(bodies.as_text(bodies.picture())[i : i + 76] for i in range(0, 400, 76)) + "",
        "data:image/png;base64," + bodies.as_text(bodies.picture()),
        "DATA:;base64," + bodies.as_text(bodies.picture()),
    ],
    ids=["bare", "unpadded", "url-safe", "plus as space", "lines", "data URL", "data URL without type"],
)
@pytest.mark.parametrize("base64", ["yes", "no"])
def test_it_takes_an_image_in_every_form_whatever_base64_says(sent: str, base64: str) -> None:
    fields = read({"init_image": sent, "base64": base64})

    assert fields.errors == {}
    assert bodies.picture().startswith(fields.validated_data["init_image"][:100])


@pytest.mark.parametrize(
    "link", ["http://example.org/a.png", "https://example.org/a.png?size=1#x", "HTTPS://[::1]:8080/"]
)
def test_it_takes_an_image_as_a_link(link: str) -> None:
    assert read({"init_image": f" {link} "}).validated_data["init_image"] == link


def test_a_plan_lowers_the_largest_side_and_never_raises_it() -> None:
    small = read({"width": 264, "height": 256}, largest_side_pixels=256)
    large = read({"width": 1032, "height": 1024}, largest_side_pixels=2048)

    assert small.errors == {"width": ["The width must be between 64 and 256."]}
    assert large.errors == {"width": ["The width must be between 64 and 1024."]}


def test_a_plan_lowers_steps_and_samples_and_never_raises_them() -> None:
    small = read({"num_inference_steps": 22, "samples": 3}, most_steps=21, most_samples=2)
    large = read({"num_inference_steps": 52, "samples": 5}, most_steps=100, most_samples=100)
    default = read({"num_inference_steps": None}, most_steps=21, most_samples=2)

    assert small.errors == {
        "num_inference_steps": ["The num inference steps must be between 1 and 21."],
        "samples": ["The samples must be between 1 and 2."],
    }
    assert large.errors == {
        "num_inference_steps": ["The num inference steps must be between 1 and 51."],
        "samples": ["The samples must be between 1 and 4."],
    }
    assert (default.validated_data["num_inference_steps"], default.validated_data["samples"]) == (21, 1)


@pytest.mark.parametrize(("largest_side_pixels", "side"), [(1024, 512), (256, 256), (300, 296)])
def test_the_default_size_stays_within_the_plan(largest_side_pixels: int, side: int) -> None:
    fields = read({"width": None, "height": ""}, largest_side_pixels=largest_side_pixels)

    assert (fields.validated_data["width"], fields.validated_data["height"]) == (side, side)


def test_a_seed_that_is_not_given_is_random_and_one_that_is_given_is_kept() -> None:
    seeds = {read({"seed": None}).params().seed for _ in range(20)}

    assert len(seeds) == 20
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert read({"seed": 0}).params().seed == 0


# Any JSON value, and more of what a sloppy or hostile client sends.
CHARACTERS = st.characters(exclude_categories=())  # NUL and lone surrogates too
TEXTS = st.one_of(
    st.text(CHARACTERS, max_size=30),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(
        ["0", "-1", "none", "yes", "NaN", "1e999", "1_0", "٣", "http://[", "data:,", "data:;base64,", "AAAA"]
    ),
    st.text(CHARACTERS, max_size=10).map("https://".__add__),
    st.binary(max_size=60).map(bodies.as_text),
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.integers(-(10**400), 10**400), st.floats(), TEXTS)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2))
TYPES: dict[str, tuple[type, ...]] = {
    "prompt": (str,),
    "negative_prompt": (str,),
    "width": (int,),
    "height": (int,),
    "samples": (int,),
    "num_inference_steps": (int,),
    "safety_checker": (bool,),
    "enhance_prompt": (bool,),
    "guidance_scale": (float, int),
    "strength": (float, int),
    "seed": (int, type(None)),
    "base64": (bool,),
    "webhook": (str, type(None)),
    "track_id": (str, int, float, type(None)),
    "init_image": (str, bytes),
    "mask_image": (str, bytes),
}


@settings(max_examples=600, deadline=None)
@given(field=st.sampled_from(sorted(TYPES)), value=VALUES)
@example(field="seed", value=-0.0)
@example(field="track_id", value=5e-324)
def test_any_value_is_accepted_with_the_right_type_or_refused_in_words(field: str, value: Any) -> None:
    fields = read({field: value})

    if fields.errors:
        [words] = fields.errors[field]
        assert set(fields.errors) == {field}
        assert words.startswith(("The ", "A data: URL "))
    else:
        assert isinstance(fields.validated_data[field], TYPES[field])
        stored = json.dumps([fields.params().as_json(), fields.validated_data["track_id"]], allow_nan=False)
        assert "\\u0000" not in stored
        stored.encode()


@pytest.mark.django_db
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    endpoint=st.sampled_from(["img2img", "text2img", "inpaint"]),
    fields=st.dictionaries(st.sampled_from(sorted(TYPES)), VALUES),
)
def test_no_request_is_a_server_fault_and_every_refusal_writes_nothing(
    api: Api, alice: Person, endpoint: str, fields: dict[str, Any]
) -> None:
    before = bodies.written()
    body = json.dumps(bodies.inpaint(alice.key) | fields)  # NaN and lone surrogates are sent as such

    reply = api.post(endpoint, body)

    assert reply.status_code == 200
    assert reply.json()["status"] in {"processing", "error"}
    if reply.json()["status"] == "error":
        assert bodies.written() == before
    else:
        assert bodies.written()["Generation"] == before["Generation"] + 1


@pytest.mark.parametrize(("sent", "type_"), [(7, int), ("7", str), (7.5, float), ("seven", str), (0, int)])
def test_the_track_id_comes_back_with_its_json_type(api: Api, alice: Person, sent: Any, type_: type) -> None:
    reply = api.post("text2img", bodies.text2img(alice.key, track_id=sent)).json()
    fetched = api.post(f"fetch/{reply['id']}", {"key": alice.key}).json()

    assert (reply["track_id"], fetched["track_id"]) == (sent, sent)
    assert (type(reply["track_id"]), type(fetched["track_id"])) == (type_, type_)


@pytest.mark.parametrize(
    ("sent", "steps", "strength"),
    [
        ({"steps": 5, "prompt_strength": "0.3"}, 5, 0.3),
        ({"steps": 5, "num_inference_steps": 7, "prompt_strength": 0.3, "strength": 0.4}, 7, 0.4),
        ({"steps": 5, "num_inference_steps": "", "prompt_strength": 0.3, "strength": None}, 5, 0.3),
        ({" steps ": 5, "prompt_strength": 0.3}, 5, 0.3),
    ],
)
def test_it_knows_other_names_for_steps_and_strength(
    api: Api, alice: Person, sent: dict[str, Any], steps: int, strength: float
) -> None:
    body = bodies.img2img(alice.key)
    del body["num_inference_steps"]

    meta = api.post("img2img", body | sent).json()["meta"]

    assert (meta["steps"], meta["strength"]) == (steps, strength)


def test_field_names_are_trimmed_and_the_exact_name_comes_first(api: Api, alice: Person) -> None:
    body = bodies.text2img(alice.key, **{"negative_prompt": "exact", " negative_prompt": "padded", "\tseed ": 7})

    meta = api.post("text2img", body).json()["meta"]

    assert (meta["negative_prompt"], meta["seed"]) == ("exact", 7)


def test_unknown_fields_are_ignored_whatever_they_hold(api: Api, alice: Person) -> None:
    unknown = {
        "model": "midjourney",
        "scheduler": "UniPCMultistepScheduler",
        "clip_skip": "2",
        "multi_lingual": "no",
        "panorama": "yes",
        "self_attention": ["yes"],
        "upscale": math.nan,
        "embeddings_model": {"a": [None]},
        "": "\ud800",
        "strength": "nonsense, and of no meaning here",
        "init_image": 5,
    }

    reply = api.post("text2img", json.dumps(bodies.text2img(alice.key) | unknown)).json()

    assert reply["status"] == "processing"
