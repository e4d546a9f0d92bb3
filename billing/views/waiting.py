"""Pages that wait for a payment look at our rows every second, and now and then at Stripe: an event may be lost."""

from collections.abc import Callable
from contextlib import suppress

from django.http import HttpRequest, HttpResponse

from billing import gateway, truth

ASK_EVERY = 4  # looks at our own row between two questions to Stripe
MOST_LOOKS = 90  # one a second; then the page waits no longer


def looks(request: HttpRequest) -> int:
    """Return how often the page has looked."""
    return min(number(request.GET.get("looks")), MOST_LOOKS)


def ask_now_and_then(looks: int, read_again: Callable[[], object]) -> None:
    """Ask Stripe when it is time to; that it does not answer is no matter, since the next look is in a second."""
    if looks % ASK_EVERY == 0 and gateway.is_on():
        with suppress(gateway.GatewayUnavailable, gateway.GatewayRefused, truth.Busy):
            read_again()


def renewed(response: HttpResponse, is_over: bool) -> HttpResponse:
    """Let htmx load the whole page again when the waiting is over, since its header shows the balance."""
    if is_over:
        response["HX-Refresh"] = "true"
    return response


def number(text: str | None) -> int:
    """Return the number that is written there, or 0."""
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) <= 18 else 0
