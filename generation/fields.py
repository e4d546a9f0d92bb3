"""Request fields that read what clients send: numbers as text, switches in any spelling, many words for nothing."""

import math
import re
from typing import Any, ClassVar, NoReturn
from urllib.parse import urlsplit

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import empty

from generation import images

NOTHING = {"", "null", "none"}
YES, NO = {"yes", "true", "1", "on"}, {"no", "false", "0", "off"}
LONGEST_LINK = 2048  # characters; of a webhook bytes in UTF-8, for an entry of PostgreSQL's indexes has at most 2704
LARGEST_SEED = 2**32 - 1
UNREADABLE = re.compile("[\x00\ud800-\udfff]")  # NUL and lone surrogates: no database or model takes them


def is_nothing(value: Any) -> bool:
    """Tell whether the value stands for "not given"."""
    return value is None or value is empty or (isinstance(value, str) and value.strip().lower() in NOTHING)


def is_text_or_number(value: Any) -> bool:
    """Tell whether the value is a text or a finite number; JSON readers also give NaN, Infinity, lists and so on."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, str | int) and not isinstance(value, bool)


class RequestField(serializers.Field):
    """Says what is wrong with a value in words for its sender: "The init image field is required."."""

    nothing: ClassVar[set[str]] = set()  # further texts that stand for "not given"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.allow_null = not self.required  # OpenAPI says so; run_validation does it anyway

    def run_validation(self, data: Any = empty) -> Any:
        if is_nothing(data) or (isinstance(data, str) and data.strip() in self.nothing):
            if self.required:
                self.refuse("field is required.")
            return self.get_default_value()
        return self.to_internal_value(data.strip() if isinstance(data, str) else data)

    def get_default_value(self) -> Any:
        return None if self.default is empty else self.default

    def refuse(self, what: str) -> NoReturn:
        raise serializers.ValidationError(f"The {str(self.field_name).replace('_', ' ')} {what}")

    def to_representation(self, value: Any) -> Any:
        return value


class Number(RequestField):
    """A number in a range, both ends included; mixed into the DRF field that describes it in OpenAPI."""

    def to_internal_value(self, data: Any) -> Any:
        value = self.read(data)
        low, high = self.min_value, self.max_value  # type: ignore[attr-defined]
        if not low <= value <= high:
            self.refuse(f"must be between {low} and {high}.")
        return value

    def read(self, data: Any) -> Any:
        """Return the finite number that `data` is or spells."""
        try:
            value = float(data)
        except (TypeError, ValueError, OverflowError):
            value = math.nan
        if isinstance(data, bool) or not math.isfinite(value):
            self.refuse("must be a number.")
        return value


class Decimal(Number, serializers.FloatField):
    """`7.5`, `"7.5"` or `10`."""


class Integer(Number, serializers.IntegerField):
    """`512` or `"512"`."""

    multiple_of = 1

    def read(self, data: Any) -> int:
        value = super().read(data)
        if value != int(value):
            self.refuse("must be a whole number.")
        return int(value)

    def to_internal_value(self, data: Any) -> int:
        value = super().to_internal_value(data)
        if value % self.multiple_of:
            self.refuse(f"must be a multiple of {self.multiple_of}.")
        return value


class Limited(Integer):
    """A whole number whose maximum the account's own limit can lower. Context: the limits, by their names."""

    limit: ClassVar[str]  # a name of accounts.quotas.Limits

    def to_internal_value(self, data: Any) -> int:
        self.max_value = min(self.max_value, self.context[self.limit])
        return super().to_internal_value(data)

    def get_default_value(self) -> int:
        largest = self.context[self.limit] // self.multiple_of * self.multiple_of
        return self.to_internal_value(min(super().get_default_value(), largest))


class Side(Limited):
    """A side of the image in pixels."""

    multiple_of = 8
    limit = "largest_side_pixels"


class Steps(Limited):
    """How many steps the model takes."""

    limit = "most_steps"


class Samples(Limited):
    """How many images are asked for."""

    limit = "most_samples"


@extend_schema_field({"type": "integer", "format": "int64", "minimum": -1, "maximum": LARGEST_SEED})
class Seed(Integer):
    """An unsigned 32-bit number, or nothing for a random one: the number 0 is a seed, the text "0" is nothing."""

    nothing = {"0", "-1"}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # Not given to DRF, whose own check OpenAPI would show: -1 may be sent.
        self.min_value, self.max_value = 0, LARGEST_SEED

    def run_validation(self, data: Any = empty) -> Any:
        return super().run_validation(None if data == -1 and not isinstance(data, bool) else data)


class Switch(RequestField, serializers.BooleanField):
    """yes/no, true/false, 1/0, on/off."""

    def to_internal_value(self, data: Any) -> bool:
        word = str(data).lower() if isinstance(data, str | bool | int) else ""
        if word not in YES | NO:
            self.refuse("must be yes or no.")
        return word in YES


class Choice(RequestField, serializers.ChoiceField):
    """One of some words."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str) or data not in self.choices:
            self.refuse(f"must be one of {', '.join(self.choices)}.")
        return data


class Text(RequestField, serializers.CharField):
    """A text that can be stored, up to `max_length` characters."""

    def to_internal_value(self, data: Any) -> str:
        if not is_text_or_number(data):
            self.refuse("must be a text.")
        text = str(data)
        if UNREADABLE.search(text):
            self.refuse("contains characters that are not text.")
        if self.max_length is not None and len(text) > self.max_length:
            self.refuse(f"may not be longer than {self.max_length} characters.")
        return text


class Link(Text):
    """An http(s) address, up to `max_length` bytes; whether it may be called is decided where it is called."""

    nothing = {"0"}

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if self.max_length is not None and len(text.encode()) > self.max_length:
            self.refuse(f"may not be longer than {self.max_length} bytes in UTF-8.")
        if not is_link(text):
            self.refuse("must be an http or https address.")
        return text


@extend_schema_field({"oneOf": [{"type": "string", "maxLength": 255, "nullable": True}, {"type": "number"}]})
class TrackId(RequestField, serializers.CharField):
    """The caller's own text or number, given back with its JSON type."""

    nothing = {"0"}

    def to_internal_value(self, data: Any) -> str | int | float:
        if not is_text_or_number(data):
            self.refuse("must be a text or a number.")
        if isinstance(data, str) and UNREADABLE.search(data):
            self.refuse("contains characters that are not text.")
        if len(str(data)) > 255:
            self.refuse("may not be longer than 255 characters.")
        return data


class Image(RequestField, serializers.CharField):
    """An image as a link, a `data:` URL, base64, or the bytes themselves; becomes a link or bytes."""

    def to_internal_value(self, data: Any) -> str | bytes:
        if isinstance(data, bytes):
            return self.checked(data)
        if not isinstance(data, str):
            self.refuse("must be a link or base64 text.")
        if images.is_url(data):
            if UNREADABLE.search(data) or len(data) > LONGEST_LINK or not is_link(data):
                self.refuse("must be an http or https address, a data: URL or base64 text.")
            return str(data)
        try:
            content = images.from_text(data)
        except images.UnusableImage as refusal:
            raise serializers.ValidationError(str(refusal)) from refusal
        return self.checked(content)

    def checked(self, content: bytes) -> bytes:
        """Return the bytes of an image, if it is one."""
        try:
            images.check_size(content)
            images.read_header(content)
        except images.UnusableImage as refusal:
            raise serializers.ValidationError(str(refusal)) from refusal
        return content


def is_link(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:  # a port that is no number, a bracket that is not closed
        return False
