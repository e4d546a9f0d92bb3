"""What every page of billing shares: who may come in, and what to say when Stripe does not answer."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import redirect

from billing import gateway, truth
from config.login import login_required

logger = logging.getLogger(__name__)

View = Callable[..., HttpResponseBase]


def page(view: View) -> View:
    """Show a page to members; when Stripe does not answer, say so on the overview instead of failing."""

    @login_required
    @wraps(view)
    def shown(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except (gateway.GatewayUnavailable, truth.Busy) as error:
            logger.warning("Stripe did not answer to %s: %s", request.path, error)
            messages.error(request, "Stripe does not answer at the moment. Nothing was charged; try again in a minute.")
        except gateway.GatewayRefused as refusal:
            logger.error("Stripe refused what %s asked for: %s", request.path, refusal)
            messages.error(request, f"Stripe refused that. Nothing was charged. {whom_to_ask()}")
        return redirect("billing:overview")

    return shown


def to_stripe(url: str) -> HttpResponse:
    """Send the browser to one of Stripe's pages."""
    return HttpResponseRedirect(url, status=303)


def shop() -> dict[str, Any]:
    """Return what pages of the shop know: whether it takes cards, and whom to ask."""
    return {"takes_cards": gateway.is_on(), "whom_to_ask": whom_to_ask(), "support_email": settings.SUPPORT_EMAIL}


def whom_to_ask() -> str:
    contact = settings.SUPPORT_EMAIL
    return f"Please write to {contact}." if contact else "Please ask the people who run this site."
