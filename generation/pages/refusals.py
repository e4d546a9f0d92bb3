"""Says to a person why the site did not do what they asked, and where they can change that."""

from dataclasses import asdict, dataclass

from django.http import JsonResponse
from rest_framework.exceptions import ValidationError

from accounts.quotas import AccountSuspended, QuotaExceeded, RateLimited
from billing.ledger import InsufficientCredits

REFUSALS = (AccountSuspended, InsufficientCredits, QuotaExceeded, RateLimited)


@dataclass(frozen=True)
class Refusal:
    """Why not, and a link that helps."""

    status: int  # HTTP
    message: str
    address: str = ""
    label: str = ""


def explain(error: Exception) -> Refusal:
    """Return the words for one of REFUSALS."""
    match error:
        case AccountSuspended():
            reason = str(error).rstrip(".")
            return Refusal(403, f"Your account is suspended: {reason}. Images and credits stay as they are.")
        case InsufficientCredits(needed=needed, available=available):
            return Refusal(402, f"This needs {needed} credits and you have {available}.", "/billing/", "Buy credits")
        case QuotaExceeded(period=period):
            return Refusal(403, f"Your {period} limit is reached.", "/usage/", "See your limits")
        case RateLimited():
            return Refusal(429, f"Too many requests. {error}", "/usage/", "See your limits")
    raise TypeError(f"{error!r} is no refusal.")


def respond(error: Exception) -> JsonResponse:
    """Return the answer to a script of ours: errors beside their fields, or a refusal."""
    if isinstance(error, ValidationError):
        return JsonResponse({"errors": error.detail}, status=400)
    refusal = explain(error)
    return JsonResponse({"refusal": asdict(refusal)}, status=refusal.status)


def words(error: Exception) -> str:
    """Return one text that says all of it."""
    if not isinstance(error, ValidationError):
        return explain(error).message
    fields = error.detail if isinstance(error.detail, dict) else {"": error.detail}
    return " ".join(str(word) for words in fields.values() for word in words)
