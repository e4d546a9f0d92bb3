"""The main navigation; says which sections the site has for whom, and which one is open."""

from dataclasses import dataclass
from functools import cache

from django.http import HttpRequest
from django.urls import Resolver404, resolve

MEMBERS = (
    ("Playground", "/playground/"),
    ("History", "/history/"),
    ("Usage", "/usage/"),
    ("Keys", "/keys/"),
    ("Webhooks", "/webhooks/"),
    ("Billing", "/billing/"),
    ("Docs", "/docs/"),
)
VISITORS = (("Docs", "/docs/"), ("Prices", "/#prices"), ("Log in", "/account/login/"))


@dataclass(frozen=True)
class Section:
    """One link of the navigation."""

    label: str
    address: str
    current: bool


def navigation(request: HttpRequest) -> dict[str, list[Section]]:
    """Context processor: `sections`, those of the site's parts that are there."""
    user = getattr(request, "user", None)  # none: the session could not be read
    links = MEMBERS if user is not None and user.is_authenticated else VISITORS
    return {
        "sections": [
            Section(label, address, request.path.startswith(address)) for label, address in links if exists(address)
        ]
    }


@cache
def exists(address: str) -> bool:
    try:
        resolve(address.partition("#")[0])
    except Resolver404:
        return False
    return True
