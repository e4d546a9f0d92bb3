"""Stripe's refusals, in the shape that makes the SDK raise the right exception."""

from typing import Any


class Refused(Exception):
    """An answer that is an error; `status` decides together with `type` what the SDK raises."""

    def __init__(self, message: str, *, status: int = 400, type: str = "invalid_request_error", **fields: Any) -> None:
        super().__init__(message)
        self.status = status
        code = fields.get("code")
        link = {"doc_url": f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"} if code else {}
        self.error = {"message": message, "type": type} | link | fields

    def as_json(self) -> dict[str, Any]:
        return {"error": self.error}


def missing(noun: str, id: str, param: str = "id") -> Refused:
    return Refused(f"No such {noun}: '{id}'", status=404, code="resource_missing", param=param)


def card_error(code: str, message: str, decline_code: str | None = None, **objects: Any) -> Refused:
    """Return what becomes stripe.CardError; `objects` are the payment_intent, payment_method and charge inside."""
    declined = {"decline_code": decline_code} if decline_code else {}
    return Refused(message, status=402, type="card_error", code=code, **declined, **objects)
