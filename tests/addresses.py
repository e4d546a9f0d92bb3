"""Every address of the site, read from the URL table, with what alice owns put where an address wants an argument."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver
from django.utils.regex_helper import normalize

from tests.belongings import Belongings

# (beginning of the address, name of its argument) → the value, from what alice owns; the longest beginning counts.
ARGUMENTS: dict[tuple[str, str], Callable[[Belongings], Any]] = {
    ("account/data/export/", "number"): lambda alice: 1,
    ("account/data/export/", "pk"): lambda alice: alice.export.pk,
    ("account/password/reset/key/", "uidb36"): lambda alice: "1",
    ("account/password/reset/key/", "key"): lambda alice: "set-password",
    ("admin/", ""): lambda alice: "1",  # every argument: only staff come as far as looking at it
    ("api/v3/", "pk"): lambda alice: alice.generation.pk,
    ("billing/plan/", "pk"): lambda alice: alice.subscription.pk,
    ("billing/purchases/", "pk"): lambda alice: alice.purchase.pk,
    ("history/", "k"): lambda alice: 0,
    ("history/", "name"): lambda alice: "init",
    ("history/", "pk"): lambda alice: alice.generation.pk,
    ("keys/", "pk"): lambda alice: alice.person.api_key.pk,
    ("media/", "name"): lambda alice: alice.generation.image_name(0),
    ("webhooks/", "pk"): lambda alice: alice.endpoint.pk,
    ("webhooks/deliveries/", "pk"): lambda alice: alice.delivery.pk,
    ("webhooks/silenced/", "pk"): lambda alice: alice.silenced.pk,
}


@dataclass(frozen=True)
class Address:
    """One line of the URL table."""

    route: str  # "api/v3/fetch/%(pk)s"
    arguments: tuple[str, ...]
    pattern: URLPattern

    def __str__(self) -> str:
        return "/" + re.sub(r"%\((\w+)\)s", r"<\1>", self.route)

    def path(self, owned: Belongings) -> str:
        """Return the address of what alice owns."""
        return "/" + self.route % {name: self.value(name, owned) for name in self.arguments}

    def value(self, name: str, owned: Belongings) -> Any:
        fitting = [start for start, argument in ARGUMENTS if argument in (name, "") and self.route.startswith(start)]
        assert fitting, (
            f"Nobody knows what to put for <{name}> into {self}: add a line to ARGUMENTS in tests/addresses.py, like "
            f'("{self.route.partition("%")[0]}", "{name}"): lambda alice: alice.…pk, '
            "and what alice owns of it to tests/belongings.py."
        )
        start = max(fitting, key=len)
        return (ARGUMENTS.get((start, name)) or ARGUMENTS[start, ""])(owned)


def addresses() -> list[Address]:
    return list(walk(get_resolver(), ""))


def walk(resolver: URLResolver, before: str) -> Iterator[Address]:
    for pattern in resolver.url_patterns:
        expression = before + pattern.pattern.regex.pattern.removeprefix("^")
        if isinstance(pattern, URLResolver):
            yield from walk(pattern, expression)
        else:
            route, arguments = normalize(expression)[0]
            yield Address(route, tuple(arguments), pattern)
