"""What the endpoints take and answer, read from the OpenAPI description."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator

from generation.v3.urls import ENDPOINTS

PREFIX = "/api/v3/"
NAMES = [name.replace("<pk>", "{id}") for name in ENDPOINTS]  # what comes after /api/v3/
NULL = "#/components/schemas/NullEnum"
TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "yes or no",
    "object": "object",
    "array": "list",
}


@dataclass(frozen=True)
class Field:
    """One parameter of a request, or one part of an answer."""

    name: str
    type: str  # in words
    is_required: bool
    default: str
    range: str
    description: str


@dataclass(frozen=True)
class Answer:
    """One form that the answer can have."""

    status: str  # of its `status`
    fields: list[Field]


@dataclass(frozen=True)
class Endpoint:
    """One call of the API."""

    name: str  # what comes after /api/v3/: "fetch/{id}"
    summary: str
    description: str
    fields: list[Field]
    answers: list[Answer]

    @property
    def is_generating(self) -> bool:
        return any(answer.status == "processing" for answer in self.answers)


@cache
def endpoints() -> dict[str, Endpoint]:
    """Return every endpoint by its name."""
    with GENERATOR_STATS.silence():
        schema = SchemaGenerator().get_schema(request=None, public=True)
    operations = {path: methods["post"] for path, methods in schema["paths"].items() if PREFIX in path}
    parts = schema["components"]["schemas"]
    return {name: endpoint(name, operations[PREFIX + name], parts) for name in NAMES}


def endpoint(name: str, operation: dict[str, Any], parts: dict[str, Any]) -> Endpoint:
    in_path = {field["name"]: field["schema"] for field in operation.get("parameters", ()) if field["in"] == "path"}
    body = resolved(operation["requestBody"]["content"]["application/json"]["schema"], parts)
    answer = resolved(operation["responses"]["200"]["content"]["application/json"]["schema"], parts)
    return Endpoint(
        name=name,
        summary=plain(operation["summary"]),
        description=plain(operation["description"]),
        fields=[*fields({"properties": in_path, "required": list(in_path)}, parts), *ordered(fields(body, parts))],
        answers=[
            Answer(form["properties"]["status"]["enum"][0], fields(form, parts))
            for form in (resolved(form, parts) for form in answer.get("oneOf", [answer]))
        ],
    )


def resolved(schema: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    """Return the description with what it refers to in its place; that it may be null is left out."""
    links = [form for form in schema.get("oneOf", ()) if form.get("$ref", NULL) != NULL]
    if len(links) == 1:
        return resolved(links[0], parts) | {"description": schema.get("description", "")}
    link = schema.get("$ref")
    return dict(parts[link.rsplit("/", 1)[1]]) if link else schema


def fields(schema: dict[str, Any], parts: dict[str, Any]) -> list[Field]:
    required = schema.get("required", ())
    return [
        Field(
            name=name,
            type=type_of(facts),
            is_required=name in required,
            default=shown(facts["default"]) if facts.get("default") not in (None, "") else "",
            range=range_of(facts),
            description=plain(facts.get("description", "")),
        )
        for name, facts in ((name, resolved(facts, parts)) for name, facts in schema["properties"].items())
    ]


def ordered(found: list[Field]) -> list[Field]:
    """Return the key first, then what is required, then the rest as it is described."""
    return sorted(found, key=lambda field: (field.name != "key", not field.is_required))


def plain(text: str) -> str:
    """Return the text without the marks of code, and without the list of choices that OpenAPI puts below."""
    return text.partition("\n\n* `")[0].replace("`", "")


def type_of(facts: dict[str, Any]) -> str:
    if "oneOf" in facts:
        return " or ".join(type_of(form) for form in facts["oneOf"])
    return TYPES[facts["type"]]


def range_of(facts: dict[str, Any]) -> str:
    if "enum" in facts and len(facts["enum"]) > 1:
        return ", ".join(facts["enum"])
    if "minimum" in facts and "maximum" in facts:
        return f"{facts['minimum']:,} to {facts['maximum']:,}"
    if "minimum" in facts:
        return f"at least {facts['minimum']:,}"
    return f"up to {facts['maxLength']:,} characters" if "maxLength" in facts else ""


def shown(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
