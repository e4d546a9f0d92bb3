"""Where Stripe tells us what happened."""

import logging

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from billing import events, gateway, truth

logger = logging.getLogger(__name__)

LARGEST_BODY_BYTES = 1024 * 1024  # Stripe's events are far smaller


@csrf_exempt  # the signature proves who sends
@require_POST
def stripe_webhook(request: HttpRequest) -> HttpResponse:
    """Take an event in: 2xx when it is kept, 400 when it can't be Stripe's, 503 when it should come again."""
    try:
        if int(request.headers.get("Content-Length") or 0) > LARGEST_BODY_BYTES:
            raise gateway.BadEvent("The body is too large.")
        event = gateway.read_event(request.body, request.headers.get("Stripe-Signature", ""))
        outcome = events.receive(event, request.body)
    except gateway.BadEvent as refusal:
        logger.warning("A message to the Stripe webhook was refused: %s", refusal)
        return text(str(refusal), 400)
    except (gateway.GatewayUnavailable, gateway.GatewayRefused, truth.Busy) as error:
        logger.warning("A Stripe event has to come again: %s", error)
        return text("Try again later.", 503)
    return text(outcome, 200)


def text(words: str, status: int) -> HttpResponse:
    return HttpResponse(f"{words}\n", content_type="text/plain", status=status)
