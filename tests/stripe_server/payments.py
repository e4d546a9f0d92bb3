"""PaymentIntents and the Charges that they lead to."""

import secrets
from typing import Any

from tests.stripe_server import cards
from tests.stripe_server.account import Account, Object, public, secret_of
from tests.stripe_server.errors import Refused, card_error
from tests.stripe_server.lists import PAGING, matching, page
from tests.stripe_server.params import Params
from tests.stripe_server.routes import route

SMALLEST_CENTS = 50
CONFIRMING = ("error_on_requires_action", "off_session", "payment_method", "return_url", "receipt_email")
DESCRIBING = ("description", "metadata", "setup_future_usage", "statement_descriptor", "statement_descriptor_suffix")
KNOWN = ("amount", "currency", "customer", "allowed_payment_method_types", "payment_method_options", *DESCRIBING)


def create(account: Account, amount: int, currency: str, **fields: Any) -> Object:
    intent = account.new(
        "payment_intent",
        **{
            "amount": amount,
            "amount_capturable": 0,
            "amount_details": {"tip": {}},
            "amount_received": 0,
            "application": None,
            "application_fee_amount": None,
            "automatic_payment_methods": None,
            "canceled_at": None,
            "cancellation_reason": None,
            "capture_method": "automatic_async",
            "client_secret": None,
            "confirmation_method": "automatic",
            "currency": currency,
            "customer": None,
            "customer_account": None,
            "description": None,
            "excluded_payment_method_types": None,
            "last_payment_error": None,
            "latest_charge": None,
            "metadata": {},
            "next_action": None,
            "on_behalf_of": None,
            "payment_method": None,
            "payment_method_configuration_details": None,
            "payment_method_options": {},
            "payment_method_types": ["card"],
            "processing": None,
            "receipt_email": None,
            "review": None,
            "setup_future_usage": None,
            "shipping": None,
            "source": None,
            "statement_descriptor": None,
            "statement_descriptor_suffix": None,
            "status": "requires_payment_method",
            "transfer_data": None,
            "transfer_group": None,
        }
        | fields,
    )
    intent["client_secret"] = secret_of(intent["id"])
    account.emit("payment_intent.created", intent)
    return intent


def confirm(account: Account, intent: Object, method: Object, off_session: bool = False) -> Object:
    """Try to take the money.

    Raises:
        Refused: the bank declined; the failed charge and its events remain.
    """
    intent |= {"payment_method": method["id"], "next_action": None}
    if account.numbers[method["id"]] == cards.BANK_DEBIT:
        account.change(intent, None, status="processing", payment_method_types=["us_bank_account"])
        charge(account, intent, method, status="pending")
        account.emit("payment_intent.processing", intent)
        return intent
    if refusal := cards.refusal(account, method, off_session):
        raise decline(account, intent, method, refusal)
    succeed(account, intent, charge(account, intent, method))
    return intent


def succeed(account: Account, intent: Object, charge: Object) -> None:
    charge |= {"status": "succeeded", "paid": True, "captured": True, "amount_captured": charge["amount"]}
    charge |= {"receipt_url": f"{account.url}/receipts/{charge['id']}", "balance_transaction": transaction()}
    intent |= {"status": "succeeded", "amount_received": intent["amount"], "last_payment_error": None}
    account.emit("charge.succeeded", charge)
    account.emit("payment_intent.succeeded", intent)
    if intent["customer"] and intent["setup_future_usage"]:
        cards.attach(account, account.objects[intent["payment_method"]], intent["customer"])


def transaction() -> str:
    return f"txn_{secrets.token_hex(12)}"


def fail(account: Account, intent: Object, charge: Object, refusal: cards.Refusal) -> None:
    """Leave the intent open for another card."""
    charge |= {"status": "failed", "failure_code": refusal.code, "failure_message": refusal.message}
    charge["outcome"] = outcome("issuer_declined", "declined_by_network", refusal.decline_code)
    error = {
        "charge": charge["id"],
        "code": refusal.code,
        "decline_code": refusal.decline_code,
        "message": refusal.message,
        "payment_method": public(account.objects[charge["payment_method"]]),
        "type": "card_error",
    }
    intent |= {"status": "requires_payment_method", "payment_method": None, "last_payment_error": error}
    account.emit("charge.failed", charge)
    account.emit("payment_intent.payment_failed", intent)


def decline(account: Account, intent: Object, method: Object, refusal: cards.Refusal) -> Refused:
    """Record a charge that failed, and return what the caller is answered."""
    failed = charge(account, intent, method, status="failed")
    fail(account, intent, failed, refusal)
    inside = {"charge": failed["id"], "payment_intent": public(intent), "payment_method": public(method)}
    return card_error(refusal.code, refusal.message, refusal.decline_code, **inside)


def charge(account: Account, intent: Object, method: Object, status: str = "succeeded") -> Object:
    """Add the charge of one attempt, and let the intent point to it."""
    kind = method["type"]
    made = account.new(
        "charge",
        amount=intent["amount"],
        amount_captured=0,
        amount_refunded=0,
        application=None,
        application_fee=None,
        application_fee_amount=None,
        balance_transaction=None,
        billing_details=method["billing_details"],
        calculated_statement_descriptor="PRETEND",
        captured=False,
        currency=intent["currency"],
        customer=intent["customer"],
        description=intent["description"],
        disputed=False,
        failure_balance_transaction=None,
        failure_code=None,
        failure_message=None,
        fraud_details={},
        metadata=dict(intent["metadata"]),
        on_behalf_of=None,
        outcome=outcome("authorized", "approved_by_network"),
        paid=False,
        payment_intent=intent["id"],
        payment_method=method["id"],
        payment_method_details={"type": kind, kind: charged_card(method) if kind == "card" else charged_bank(method)},
        receipt_email=intent["receipt_email"],
        receipt_number=None,
        receipt_url=None,
        refunded=False,
        review=None,
        shipping=None,
        source=None,
        source_transfer=None,
        statement_descriptor=None,
        statement_descriptor_suffix=None,
        status=status,
        transfer_data=None,
        transfer_group=None,
    )
    intent["latest_charge"] = made["id"]
    return made


def charged_card(method: Object) -> Object:
    same = (
        "brand",
        "checks",
        "country",
        "exp_month",
        "exp_year",
        "fingerprint",
        "funding",
        "last4",
        "regulated_status",
    )
    absent = ("amount_authorized", "installments", "mandate", "network_token", "three_d_secure", "wallet")
    return {name: method["card"][name] for name in same} | dict.fromkeys(absent) | {"network": "visa"}


def charged_bank(method: Object) -> Object:
    same = ("account_holder_type", "account_type", "bank_name", "fingerprint", "last4", "routing_number")
    return {name: method["us_bank_account"][name] for name in same} | {"mandate": None, "payment_reference": None}


def outcome(type: str, network_status: str, decline_code: str | None = None) -> Object:
    return {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": network_status,
        "reason": decline_code,
        "risk_level": "normal",
        "seller_message": "Payment complete." if type == "authorized" else "The bank declined the payment.",
        "type": type,
    }


@route("POST", "/v1/payment_intents", *KNOWN, "automatic_payment_methods", "capture_method", "confirm", *CONFIRMING)
def create_(account: Account, params: Params) -> Object:
    amount, currency = params.integer("amount"), params.need("currency").lower()
    if amount is None:
        raise Refused("Missing required param: amount.", code="parameter_missing", param="amount")
    if amount < SMALLEST_CENTS:
        raise Refused("Amount must be at least $0.50 usd", code="amount_too_small", param="amount")
    customer = params.text("customer")
    if customer:
        account.get("customer", customer, "customer")
    method = cards.find(account, params["payment_method"]) if params.get("payment_method") else None
    if method and method["customer"] not in (None, customer):
        raise Refused("The provided PaymentMethod does not belong to this Customer.", param="payment_method")
    if params.switch("off_session") and not params.switch("confirm"):
        raise Refused("off_session can only be set when confirm is true.", param="off_session")
    intent = create(
        account,
        amount,
        currency,
        customer=customer,
        metadata=params.metadata(),
        payment_method=method and method["id"],
        payment_method_types=params.get("allowed_payment_method_types") or ["card"],
        status="requires_confirmation" if method else "requires_payment_method",
        **{name: params.text(name) for name in ("receipt_email", *DESCRIBING) if name != "metadata"},
    )
    return try_to_confirm(account, intent, params) if params.switch("confirm") else intent


@route("POST", "/v1/payment_intents/{id}/confirm", *CONFIRMING, "setup_future_usage", "payment_method_options")
def confirm_(account: Account, params: Params, id: str) -> Object:
    return try_to_confirm(account, account.get("payment_intent", id), params)


def try_to_confirm(account: Account, intent: Object, params: Params) -> Object:
    if intent["status"] not in ("requires_payment_method", "requires_confirmation", "requires_action"):
        raise Refused(
            f"You cannot confirm this PaymentIntent because it has already {intent['status']}.",
            code="payment_intent_unexpected_state",
            payment_intent=public(intent),
        )
    id = params.text("payment_method") or intent["payment_method"]
    if not id:
        raise Refused("You cannot confirm this PaymentIntent because it's missing a payment method.")
    method, off_session = cards.find(account, id), params.switch("off_session")
    needs_owner = account.numbers[method["id"]] == cards.AUTHENTICATES
    if needs_owner and not off_session and not params.switch("error_on_requires_action"):
        action = {"type": "use_stripe_sdk", "use_stripe_sdk": {}}
        intent |= {"payment_method": method["id"], "status": "requires_action", "next_action": action}
        account.emit("payment_intent.requires_action", intent)
        return intent
    return confirm(account, intent, method, off_session or needs_owner)


@route("POST", "/v1/payment_intents/{id}/cancel", "cancellation_reason")
def cancel(account: Account, params: Params, id: str) -> Object:
    intent = account.get("payment_intent", id)
    if intent["status"] in ("succeeded", "canceled", "processing"):
        raise Refused(
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}.",
            code="payment_intent_unexpected_state",
            payment_intent=public(intent),
        )
    intent |= {"status": "canceled", "canceled_at": account.now(), "next_action": None}
    intent["cancellation_reason"] = params.text("cancellation_reason")
    account.emit("payment_intent.canceled", intent)
    return intent


@route("POST", "/v1/payment_intents/{id}", *KNOWN, "receipt_email", "payment_method")
def update(account: Account, params: Params, id: str) -> Object:
    intent = account.get("payment_intent", id)
    intent["metadata"] = params.metadata(intent["metadata"])
    intent |= {name: params.text(name) for name in DESCRIBING if name in params and name != "metadata"}
    return intent


@route("GET", "/v1/payment_intents", "created", "customer", *PAGING)
def list_(account: Account, params: Params) -> Object:
    return page(matching(account.all("payment_intent"), params, "customer"), params, "/v1/payment_intents")


@route("GET", "/v1/payment_intents/{id}", "client_secret")
def retrieve(account: Account, params: Params, id: str) -> Object:
    return account.get("payment_intent", id)


@route("GET", "/v1/charges", "created", "customer", "payment_intent", *PAGING)
def list_charges(account: Account, params: Params) -> Object:
    return page(matching(account.all("charge"), params, "customer", "payment_intent"), params, "/v1/charges")


@route("GET", "/v1/charges/{id}")
def retrieve_charge(account: Account, params: Params, id: str) -> Object:
    return account.get("charge", id)
