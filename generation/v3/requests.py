"""Reads a V3 request: where its parameters and its key are, and what the fields mean."""

import json
from typing import Any

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.http import HttpRequest, QueryDict
from django.http.multipartparser import MultiPartParserError
from rest_framework import serializers

from generation.idempotency import Repeatable
from generation.params import Mode, Params, random_seed
from generation.v3.fields import Decimal, Image, Integer, Link, Seed, Side, Switch, Text, TrackId, is_nothing

ALIASES = {"prompt_strength": "strength", "steps": "num_inference_steps"}


class Unreadable(Exception):
    """The request is not one of the forms that V3 knows."""


class Repetition(serializers.Serializer[Any]):
    """The caller's name for one submission, by which it can be repeated."""

    idempotency_key = Text(
        required=False,
        max_length=255,
        help_text="Your own name for this request: repeated within 24 hours, it answers the same generation.",
    )


class TextToImage(Repetition):
    """The fields that every kind of generation has."""

    key = Text(required=False, help_text="Your API key; it may also come in a header.")
    prompt = Text(max_length=2000, help_text="What to show. Emphasis: ((word)), [word], (word:1.3).")
    negative_prompt = Text(required=False, default="", max_length=2000, help_text="What not to show.")
    width = Side(required=False, default=512, min_value=64, max_value=1024, help_text="Pixels, a multiple of 8.")
    height = Side(required=False, default=512, min_value=64, max_value=1024, help_text="Pixels, a multiple of 8.")
    samples = Integer(required=False, default=1, min_value=1, max_value=4, help_text="How many images.")
    num_inference_steps = Integer(required=False, default=31, min_value=1, max_value=51)
    safety_checker = Switch(required=False, default=True, help_text="Replace an indecent image by a blank one.")
    enhance_prompt = Switch(required=False, default=True, help_text="Append words that improve quality.")
    guidance_scale = Decimal(required=False, default=7.5, min_value=1, max_value=20)
    seed = Seed(required=False, min_value=0, max_value=2**32 - 1, help_text="Empty or -1 for a random one.")
    base64 = Switch(required=False, default=False, help_text="Answer base64 text instead of PNG.")
    webhook = Link(required=False, max_length=2048, help_text="Where to POST the answer when it is ready.")
    track_id = TrackId(required=False, help_text="Your own reference, given back as it is.")

    mode: Mode = "text2img"

    def repeatable(self) -> Repeatable | None:
        """Return the idempotency key and what is asked under it, as it was sent; None when there is no usable key.

        Raises:
            Unreadable
        """
        repetition = Repetition(data=self.initial_data)
        if not repetition.is_valid() or not (key := repetition.validated_data["idempotency_key"]):
            return None
        names = self.fields.keys() - {"key", "idempotency_key"}
        asked = {name: value for name, value in self.initial_data.items() if name in names}
        try:
            return Repeatable.of(key, asked | {"mode": self.mode})
        except RecursionError as error:
            raise Unreadable("The request body is nested too deeply.") from error

    def params(self) -> Params:
        """Return the validated fields as parameters, with the seed chosen."""
        fields = {name: value for name, value in self.validated_data.items() if name in Params.__dataclass_fields__}
        if fields["seed"] is None:
            fields["seed"] = random_seed()
        return Params(mode=self.mode, **fields)


class ImageToImage(TextToImage):
    """The same and a start image."""

    init_image = Image(help_text="The image to begin with: a link, a data: URL or base64.")
    strength = Decimal(
        required=False, default=0.7, min_value=0, max_value=1, help_text="1 destroys the start image completely."
    )

    mode: Mode = "img2img"


class Inpaint(ImageToImage):
    """The same and a mask."""

    mask_image = Image(help_text="White is repainted, black is kept.")

    mode = "inpaint"


def read_parameters(request: HttpRequest) -> dict[str, Any]:
    """Return the request's parameters by stripped name, the body's before the query's and those before the headers'.

    Raises:
        Unreadable: the body is neither a JSON object nor a form.
    """
    headers = {"idempotency_key": request.headers["Idempotency-Key"]} if "Idempotency-Key" in request.headers else {}
    try:
        return headers | by_name(request.GET.dict()) | by_name(read_body(request))
    except RequestDataTooBig as error:
        raise Unreadable("The request body is too large.") from error
    # A LookupError or UnicodeError is a charset in the Content-Type that is none for text.
    except (SuspiciousOperation, MultiPartParserError, LookupError, UnicodeError) as error:
        raise Unreadable("The form data could not be read.") from error


def by_name(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields by stripped name, with aliases read; a name that needs neither comes first."""
    named = {name.strip(): value for name, value in fields.items()} | fields
    for alias, name in ALIASES.items():
        if is_nothing(named.get(name)) and alias in named:
            named[name] = named[alias]
    return named


def read_body(request: HttpRequest) -> dict[str, Any]:
    """Return what the body says, whatever content type it is said to have."""
    body = request.body.strip()
    if not body:
        return {}
    if request.content_type == "multipart/form-data":
        return request.POST.dict()
    if request.content_type == "application/x-www-form-urlencoded" and not body.startswith(b"{"):
        return QueryDict(body, encoding="utf-8").dict()
    try:
        parameters = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Unreadable("The request body is not valid JSON.") from error
    if not isinstance(parameters, dict):
        raise Unreadable("The request body must be a JSON object.")
    return parameters


def find_key(request: HttpRequest, parameters: dict[str, Any]) -> str | None:
    """Return the API key: from the body or the query, then from the headers."""
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    candidates = [
        parameters.get("key"),
        request.GET.get("key"),
        request.headers.get("key"),
        request.headers.get("X-API-Key"),
        token if scheme.lower() == "bearer" else scheme,
    ]
    for candidate in candidates:
        if not is_nothing(candidate) and isinstance(candidate, str):
            return candidate.strip() if candidate.isascii() else None  # no key has other characters
    return None
