"""Reads a V3 request: where its parameters and its key are, and what the fields mean."""

import json
from typing import Any

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.http import HttpRequest, QueryDict
from django.http.multipartparser import MultiPartParserError
from rest_framework import serializers

from generation import requests
from generation.fields import Choice, Image, Integer, Link, Switch, Text, TrackId, is_nothing
from generation.idempotency import Repeatable
from generation.params import Mode, Params
from generation.webhooks.listening import MOST_EVENTS

MOST_COMMAS = 10_000  # in a body of JSON: what it becomes in memory is many times what it was
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


class Asker(serializers.Serializer[Any]):
    """Who asks."""

    key = Text(required=False, help_text="Your API key; it may also come in a header.")


class Keyed(Repetition, Asker):
    """Who asks, and under which name."""


class EventPage(serializers.Serializer[Any]):
    """Which events are asked for."""

    cursor = Integer(
        required=False, default=0, min_value=0, max_value=2**53, help_text="After which event the page begins."
    )
    limit = Integer(
        required=False, default=MOST_EVENTS, min_value=1, max_value=MOST_EVENTS, help_text="How many events at most."
    )


class Events(Asker, EventPage):
    """The fields of events."""


class Answered(serializers.Serializer[Any]):
    """How the answer is given."""

    base64 = Switch(required=False, default=False, help_text="Answer base64 text instead of PNG.")
    webhook = Link(required=False, max_length=2048, help_text="Where to POST the answer when it is ready.")
    track_id = TrackId(required=False, help_text="Your own reference, given back as it is.")

    mode: Mode

    def repeatable(self) -> Repeatable | None:
        """Return the idempotency key and what is asked under it, as it was sent; None when there is no usable key.

        Raises:
            Unreadable
        """
        if is_nothing(self.initial_data.get("idempotency_key")):
            return None
        repetition = Repetition(data=self.initial_data)
        if not repetition.is_valid() or not (key := repetition.validated_data["idempotency_key"]):
            return None
        names = self.fields.keys() - {"key", "idempotency_key"}
        asked = {name: value for name, value in self.initial_data.items() if name in names}
        try:
            return Repeatable.of(key, asked | {"mode": self.mode})
        except RecursionError as error:
            raise Unreadable("The request body is nested too deeply.") from error


class TextToImage(Keyed, requests.TextToImage, Answered):
    """The fields of text2img."""


class ImageToImage(Keyed, requests.ImageToImage, Answered):
    """The fields of img2img."""


class Inpaint(Keyed, requests.Inpaint, Answered):
    """The fields of inpaint."""


class Price(Inpaint):
    """The fields of every endpoint, of which none is required: only some of them decide the price."""

    prompt = Text(required=False, default="", max_length=2000)
    init_image = Image(required=False)
    mask_image = Image(required=False)
    mode = Choice(  # type: ignore[assignment] # here it is a field
        required=False,
        choices=["text2img", "img2img", "inpaint"],
        help_text="The endpoint; when left out, the one that the images given belong to.",
    )

    def params(self) -> Params:
        """Return the validated fields as parameters."""
        values = self.validated_data
        guess = "inpaint" if values["mask_image"] else "img2img" if values["init_image"] else "text2img"
        fields = {name: value for name, value in values.items() if name in Params.__dataclass_fields__}
        return Params(**fields | {"mode": values["mode"] or guess, "seed": 0})


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
    except (SuspiciousOperation, MultiPartParserError) as error:
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
    if body.count(b",") > MOST_COMMAS:
        raise Unreadable("The request body has too many fields.")
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
