"""Disputes: a bank takes the money of a charge back, and may return it."""

from tests.stripe_server.account import Account, Object
from tests.stripe_server.errors import Refused
from tests.stripe_server.lists import PAGING, matching, page
from tests.stripe_server.params import Params
from tests.stripe_server.routes import route

DAY = 24 * 60 * 60
EVIDENCE = (
    "access_activity_log",
    "billing_address",
    "cancellation_policy",
    "cancellation_policy_disclosure",
    "cancellation_rebuttal",
    "customer_communication",
    "customer_email_address",
    "customer_name",
    "customer_purchase_ip",
    "customer_signature",
    "duplicate_charge_documentation",
    "duplicate_charge_explanation",
    "duplicate_charge_id",
    "product_description",
    "receipt",
    "refund_policy",
    "refund_policy_disclosure",
    "refund_refusal_explanation",
    "service_date",
    "service_documentation",
    "shipping_address",
    "shipping_carrier",
    "shipping_date",
    "shipping_documentation",
    "shipping_tracking_number",
    "uncategorized_file",
    "uncategorized_text",
)


def create(account: Account, charge: Object, amount: int | None = None, reason: str = "fraudulent") -> Object:
    """Open a dispute about `amount` of the charge, or what is left of it; the money is gone until it is won.

    Raises:
        Refused: the charge can't be disputed now; nothing was changed.
    """
    if charge["status"] != "succeeded" or charge["disputed"]:
        raise Refused(f"Charge {charge['id']} can't be disputed.")
    dispute = account.new(
        "dispute",
        amount=charge["amount_captured"] - charge["amount_refunded"] if amount is None else amount,
        balance_transactions=[],
        charge=charge["id"],
        currency=charge["currency"],
        enhanced_eligibility_types=[],
        evidence=dict.fromkeys(EVIDENCE) | {"enhanced_evidence": {}},
        evidence_details={
            "due_by": account.now() + 7 * DAY,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        is_charge_refundable=False,
        metadata={},
        payment_intent=charge["payment_intent"],
        payment_method_details={
            "card": {"brand": "visa", "case_type": "chargeback", "network": "visa", "network_reason_code": "10.4"},
            "type": "card",
        },
        reason=reason,
        status="needs_response",
    )
    charge["disputed"] = True
    account.emit("charge.dispute.created", dispute)
    account.emit("charge.dispute.funds_withdrawn", dispute)
    return dispute


def close(account: Account, dispute: Object, won: bool) -> None:
    if dispute["status"] in ("won", "lost"):
        raise Refused(f"Dispute {dispute['id']} is closed.")
    dispute["status"] = "won" if won else "lost"
    account.emit("charge.dispute.closed", dispute)
    if won:
        charge = account.objects[dispute["charge"]]
        charge["_dispute_won"] = dispute["is_charge_refundable"] = True
        account.emit("charge.dispute.funds_reinstated", dispute)


@route("GET", "/v1/disputes", "charge", "created", "payment_intent", *PAGING)
def list_(account: Account, params: Params) -> Object:
    return page(matching(account.all("dispute"), params, "charge", "payment_intent"), params, "/v1/disputes")


@route("GET", "/v1/disputes/{id}")
def retrieve(account: Account, params: Params, id: str) -> Object:
    return account.get("dispute", id)


@route("POST", "/v1/disputes/{id}/close")
def accept(account: Account, params: Params, id: str) -> Object:
    dispute = account.get("dispute", id)
    close(account, dispute, won=False)
    return dispute
