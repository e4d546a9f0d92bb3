"""Request parameters: `items[0][price]=price_1` as nested values, read with Stripe's own complaints."""

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from tests.stripe_server.errors import Refused


class Params(dict[str, Any]):
    """The parameters of one request; values are text, maps and lists, as they came."""

    @classmethod
    def parse(cls, encoded: str) -> "Params":
        tree: dict[str, Any] = {}
        for name, value in parse_qsl(encoded, keep_blank_values=True):
            *path, last = re.findall(r"[^\[\]]+|(?<=\[)(?=\])", name)
            node = tree
            for step in path:
                node = node.setdefault(step, {})
            node[last or str(len(node))] = value
        return cls(_lists(tree))

    def only(self, known: Iterable[str]) -> None:
        for name in self.keys() - set(known) - {"expand"}:
            raise Refused(f"Received unknown parameter: {name}", code="parameter_unknown", param=name)

    def need(self, name: str) -> Any:
        if self.get(name) in (None, ""):
            raise Refused(f"Missing required param: {name}.", code="parameter_missing", param=name)
        return self[name]

    def text(self, name: str, default: str | None = None) -> str | None:
        value = self.get(name)
        if isinstance(value, dict | list):
            raise Refused(f"Invalid string: {value}", code="parameter_invalid_string", param=name)
        return value or default

    def one_of(self, name: str, allowed: Iterable[str], default: str | None = None) -> str:
        value = self.text(name, default) or self.need(name)
        if value not in allowed:
            raise Refused(f"Invalid {name}: must be one of {', '.join(allowed)}", param=name)
        return value

    def integer(self, name: str, default: int | None = None) -> int | None:
        value = self.get(name, default)
        try:
            return None if value in (None, "") else int(value)
        except (TypeError, ValueError):
            raise Refused(f"Invalid integer: {value}", code="parameter_invalid_integer", param=name) from None

    def switch(self, name: str, default: bool = False) -> bool:
        value = self.get(name, str(default).lower())
        if value not in ("true", "false", ""):
            raise Refused(f"Invalid boolean: {value}", param=name)
        return value == "true"

    def map(self, name: str) -> "Params":
        """Return the nested parameters, empty if there are none."""
        value = self.get(name) or {}
        if not isinstance(value, dict):
            raise Refused("Invalid object", param=name)
        return Params(value)

    def maps(self, name: str) -> "list[Params]":
        value = self.get(name) or []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise Refused("Invalid array", param=name)
        return [Params(item) for item in value]

    def metadata(self, before: dict[str, str] | None = None) -> dict[str, str]:
        """Return `before` with what is sent over it; an empty value removes a key."""
        merged = (before or {}) | self.map("metadata")
        if len(merged) > 50 or any(len(k) > 40 or len(str(v)) > 500 for k, v in merged.items()):
            raise Refused("Metadata has at most 50 keys of 40 characters, with values of 500.", param="metadata")
        return {k: str(v) for k, v in merged.items() if v != ""}


def _lists(node: Any) -> Any:
    """Turn maps whose keys are 0, 1, 2 … into lists."""
    if not isinstance(node, dict):
        return node
    inside = {name: _lists(value) for name, value in node.items()}
    if inside and all(name.isdigit() for name in inside):
        return [inside[name] for name in sorted(inside, key=int)]
    return inside
