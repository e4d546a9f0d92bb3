"""Turns what went wrong into the V3 dialect's answers; the one place that does.

V3 answers every refusal with status 200, since typed clients of the original read nothing else; the setting
V3_REAL_STATUS_CODES gives the true codes.
"""

import logging
from typing import Any

from django.conf import settings
from django.http import Http404
from rest_framework.exceptions import MethodNotAllowed, ValidationError
from rest_framework.response import Response

from accounts.authentication import InvalidKey, KeyNotAllowed
from accounts.quotas import AccountSuspended, QuotaExceeded, RateLimited, SpendingCapReached
from billing.ledger import InsufficientCredits
from generation.idempotency import IdempotencyKeyReused
from generation.services import NotReproducible
from generation.v3.requests import Unreadable

logger = logging.getLogger(__name__)

KEY_REUSED = "The idempotency key was used with another body in the last 24 hours; a new request needs a new key."


class NotFound(Exception):
    """There is no such generation in this account."""


class NotCancelable(Exception):
    """The generation is over, and not because it was canceled."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


def respond(error: Exception, base_url: str) -> Response:
    """Return the answer to a refusal; anything unforeseen is logged and answered as a server fault."""
    status, body = describe(error, base_url)
    if status == 500:
        logger.error("A V3 request failed.", exc_info=error)
    response = Response(body, status=status if settings.V3_REAL_STATUS_CODES or status == 500 else 200)
    if isinstance(error, RateLimited):
        response["Retry-After"] = str(error.retry_after_seconds)
    return response


def describe(error: Exception, base_url: str) -> tuple[int, dict[str, Any]]:
    """Return the true HTTP status and the body."""
    match error:
        case KeyNotAllowed():
            return 403, envelope("Invalid Api Key", tip=f"{error} What it is good for is set on {base_url}/keys/.")
        case InvalidKey():
            tip = f"Send your API key as `key` in the body. Keys are made on {base_url}/keys/."
            return 401, envelope("Invalid Api Key", tip=tip)
        case MethodNotAllowed():
            return 400, envelope("Invalid API Request", tip="Make sure you are sending a POST request.")
        case Http404():
            return 404, envelope("Invalid API Request", tip=f"There is no such endpoint; see {base_url}/api/docs.")
        case Unreadable():
            return 400, envelope("Invalid API Request", tip=str(error))
        case ValidationError():
            return 400, {"status": "error", "message": error.detail}
        case IdempotencyKeyReused():
            return 400, {"status": "error", "message": {"idempotency_key": [KEY_REUSED]}}
        case NotCancelable(status=status):
            words = f"The generation ended before it could be canceled: {status}."
            return 400, envelope(words, tip="Fetch it by its id.")
        case NotReproducible():
            return 400, envelope(f"It can't be reproduced. {error}", tip="Submit its parameters as a new request.")
        case AccountSuspended():
            whom = settings.SUPPORT_EMAIL or "the operator of this site"
            tip = f"Images and credits stay as they are. Write to {whom}."
            return 403, envelope(f"Your account is suspended: {error}", tip=tip)
        case RateLimited():
            return 429, envelope("Rate limit exceeded", tips=str(error))
        case QuotaExceeded(period=period):
            words = f"Your {period} limit exceeded, upgrade subscription now on {base_url}/billing/"
            return 403, envelope(words)
        case SpendingCapReached():
            words = f"The spending limit of this API key is reached: {error}"
            return 403, envelope(words, tip=f"Raise the key's limit on {base_url}/keys/ or use another key.")
        case InsufficientCredits(needed=needed, available=available):
            words = f"Insufficient credits: this request needs {needed} and you have {available}."
            return 402, envelope(words, tip=f"Buy credits on {base_url}/billing/")
        case NotFound():
            tip = "Check the id and that the key belongs to the account that made the request."
            return 404, {"status": "failed", "message": "Request not found", "output": [], "tip": tip}
        case _:
            return 500, envelope("Server error", tip="This is our fault. Nothing was charged; please try again.")


def envelope(message: str, **extra: str) -> dict[str, Any]:
    return {"status": "error", "message": message} | extra
