"""Every refusal of the API with the very words that it answers."""

import json
from dataclasses import dataclass
from typing import Any

from django.http import Http404
from rest_framework.exceptions import MethodNotAllowed, ValidationError

from accounts import quotas
from accounts.authentication import InvalidKey, KeyNotAllowed
from billing.ledger import InsufficientCredits
from generation import images
from generation.idempotency import IdempotencyKeyReused
from generation.services import NotReproducible
from generation.v3 import errors
from generation.v3.requests import Unreadable


@dataclass(frozen=True)
class Refusal:
    """One case of the table of errors."""

    case: str
    status: int  # HTTP, where the site answers real codes
    body: str  # JSON
    remedy: str

    @property
    def slug(self) -> str:
        return self.case.lower().replace(" ", "-").replace(",", "")


VALIDATION = ValidationError(
    {"prompt": ["The prompt field is required."], "width": ["The width must be a multiple of 8."]}
)
START_IMAGE = ValidationError({"init_image": [images.UNREADABLE]})
SPENT = quotas.Allowance("spending_cap_credits", 500, 497, None)
CASES: list[tuple[str, Exception, str]] = [
    ("The key is wrong", InvalidKey(), "It is missing, unknown, revoked or expired. Send a live key."),
    (
        "The key may not do this",
        KeyNotAllowed("This API key may only read."),
        "Use a key with the scope, or from an address, that it allows.",
    ),
    (
        "The account is suspended",
        quotas.AccountSuspended("A card was reported stolen."),
        "Staff stopped it, and say why. It begins no generation until they lift that; the rest of the API works.",
    ),
    ("It is no POST", MethodNotAllowed("GET"), "Every call is a POST."),
    ("The body does not parse", Unreadable("The request body is not valid JSON."), "Send a JSON object, or a form."),
    ("There is no such endpoint", Http404(), "Look at the list of endpoints."),
    (
        "Parameters are wrong",
        VALIDATION,
        "Every wrong field is named at once. The words say what is allowed; nothing was charged.",
    ),
    (
        "The start image is unusable",
        START_IMAGE,
        "Known at once for base64. A link is fetched later: the generation then fails with the same words.",
    ),
    ("Too many requests", quotas.RateLimited("Try again in 17 seconds.", 17), "Wait as long as it says."),
    ("The quota is used up", quotas.QuotaExceeded("monthly"), "Wait for the next day or month, or take another plan."),
    ("The credits are used up", InsufficientCredits(needed=4, available=1), "Buy credits."),
    ("The key's spending limit is reached", quotas.SpendingCapReached(SPENT), "Raise the limit of the key."),
    ("An idempotency key was used again", IdempotencyKeyReused(), "Take a new key for a new request."),
    ("There is no such generation", errors.NotFound(), "Check the id. Generations of other accounts are not there."),
    ("It is too late to cancel", errors.NotCancelable("success"), "Fetch the generation: it is over."),
    (
        "It can't be made again",
        NotReproducible("Its images are no longer stored, so there is nothing to compare with."),
        "Submit its parameters as a new request.",
    ),
    ("A fault of ours", RuntimeError(), "Nothing was charged. Try again; repeat with an idempotency key."),
]


def refusals(base_url: str) -> list[Refusal]:
    described = [(case, errors.describe(error, base_url), remedy) for case, error, remedy in CASES]
    return [Refusal(case, status, as_json(body), remedy) for case, (status, body), remedy in described]


def as_json(body: dict[str, Any]) -> str:
    return json.dumps(body, indent=2, ensure_ascii=False)
