"""The balance that every page shows in its header."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from billing import ledger


def balance(request: HttpRequest) -> dict[str, Any]:
    """Context processor: `balance_credits` of the person who is logged in, read when a page shows it."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {}
    return {"balance_credits": SimpleLazyObject(lambda: ledger.balance(user.pk))}
