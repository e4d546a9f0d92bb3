"""Refunds: all of a charge or parts of it, until nothing is left."""

from tests.stripe_server.account import Account, Object
from tests.stripe_server.errors import Refused
from tests.stripe_server.lists import PAGING, matching, page
from tests.stripe_server.params import Params
from tests.stripe_server.payments import transaction
from tests.stripe_server.routes import route

REASONS = ("duplicate", "fraudulent", "requested_by_customer")


def create(
    account: Account, charge: Object, amount: int | None = None, reason: str | None = None, **fields: object
) -> Object:
    """Give back `amount` of a charge, or what is left of it.

    Raises:
        Refused: there is not that much left; nothing was changed.
    """
    left = charge["amount_captured"] - charge["amount_refunded"]
    if charge["status"] != "succeeded":
        raise Refused(f"Charge {charge['id']} cannot be refunded: it did not succeed.", code="charge_not_refundable")
    if left == 0:
        raise Refused(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    if charge["disputed"] and not charge.get("_dispute_won"):
        raise Refused(f"Charge {charge['id']} has been charged back; cannot issue a refund.", code="charge_disputed")
    amount = left if amount is None else amount
    if amount < 1:
        raise Refused("This value must be greater than or equal to 1.", param="amount")
    if amount > left:
        raise Refused(
            f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})",
            code="amount_too_large",
            param="amount",
        )
    kind = charge["payment_method_details"]["type"]
    refund = account.new(
        "refund",
        **{
            "amount": amount,
            "balance_transaction": transaction(),
            "charge": charge["id"],
            "currency": charge["currency"],
            "customer": charge["customer"],
            "customer_account": None,
            "destination_details": {"type": kind, kind: {"type": "refund"}},
            "metadata": {},
            "payment_intent": charge["payment_intent"],
            "payment_method": charge["payment_method"],
            "reason": reason,
            "receipt_number": None,
            "source_transfer_reversal": None,
            "status": "succeeded",
            "transfer_reversal": None,
        }
        | fields,
    )
    del refund["livemode"]
    before = {"amount_refunded": charge["amount_refunded"], "refunded": charge["refunded"]}
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]
    account.emit("refund.created", refund)
    account.emit("charge.refunded", charge, before)
    return refund


@route("POST", "/v1/refunds", "amount", "charge", "metadata", "payment_intent", "reason", "instructions_email")
def create_(account: Account, params: Params) -> Object:
    if intent := params.text("payment_intent"):
        charge = account.get("payment_intent", intent, "payment_intent")["latest_charge"]
    else:
        charge = params.need("charge")
    reason = params.one_of("reason", REASONS) if params.get("reason") else None
    found = account.get("charge", charge, "charge")
    return create(account, found, params.integer("amount"), reason, metadata=params.metadata())


@route("GET", "/v1/refunds", "charge", "created", "payment_intent", *PAGING)
def list_(account: Account, params: Params) -> Object:
    return page(matching(account.all("refund"), params, "charge", "payment_intent"), params, "/v1/refunds")


@route("GET", "/v1/refunds/{id}")
def retrieve(account: Account, params: Params, id: str) -> Object:
    return account.get("refund", id)
