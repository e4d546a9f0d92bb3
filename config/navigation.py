"""The main navigation; says which sections there are for whom, and which one is open."""

from dataclasses import dataclass

from django.http import HttpRequest

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
    """Context processor: `sections`."""
    user = getattr(request, "user", None)  # none: the session could not be read
    links = MEMBERS if user is not None and user.is_authenticated else VISITORS
    return {"sections": [Section(label, address, request.path.startswith(address)) for label, address in links]}
