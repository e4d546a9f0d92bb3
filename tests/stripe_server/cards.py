"""PaymentMethods: cards, whose number decides what becomes of a payment, and a bank debit that pays days later."""

from dataclasses import dataclass
from typing import Any

from tests.stripe_server.account import Account, Object
from tests.stripe_server.errors import Refused
from tests.stripe_server.lists import PAGING, matching, page
from tests.stripe_server.params import Params
from tests.stripe_server.routes import route

PAYS = "4242424242424242"
DECLINED = "4000000000000002"
NO_FUNDS = "4000000000009995"
DECLINED_LATER = "4000000000000341"  # can be saved and pays at the pay page, then every charge is declined
AUTHENTICATES = "4000002500003155"  # pays while its owner is there; off-session its bank wants the owner
BANK_DEBIT = "bank debit"  # accepted at once, paid or refused days later
NUMBERS = (PAYS, DECLINED, NO_FUNDS, DECLINED_LATER, AUTHENTICATES, BANK_DEBIT)
WELL_KNOWN = {  # ids that every test account of Stripe has
    "pm_card_visa": PAYS,
    "pm_card_visa_chargeDeclined": DECLINED,
    "pm_card_chargeCustomerFail": DECLINED_LATER,
    "pm_card_authenticationRequired": AUTHENTICATES,
}


@dataclass(frozen=True)
class Refusal:
    """Why a bank refuses a charge."""

    code: str
    decline_code: str
    message: str


GENERIC = Refusal("card_declined", "generic_decline", "Your card was declined.")
INSUFFICIENT = Refusal("card_declined", "insufficient_funds", "Your card has insufficient funds.")
AUTHENTICATION = Refusal(
    "authentication_required",
    "authentication_required",
    "Your card was declined. This transaction requires authentication.",
)


def refusal(account: Account, method: Object, off_session: bool) -> Refusal | None:
    """Return why the bank refuses a charge now, or nothing if it pays."""
    match account.numbers[method["id"]]:
        case "4000000000000002":
            return GENERIC
        case "4000000000009995":
            return INSUFFICIENT
        case "4000000000000341" if off_session:
            return GENERIC
        case "4000002500003155" if off_session:
            return AUTHENTICATION
    return None


def create(account: Account, number: str, customer: str | None = None) -> Object:
    """Make a payment method of a number that `NUMBERS` lists.

    Raises:
        Refused: no bank has this number; nothing was made.
    """
    number = number.replace(" ", "") if number != BANK_DEBIT else number
    if number not in NUMBERS:
        raise Refused(
            "Your card number is incorrect.", status=402, type="card_error", code="incorrect_number", param="number"
        )
    kind = "us_bank_account" if number == BANK_DEBIT else "card"
    method = account.new(
        "payment_method",
        allow_redisplay="limited",
        billing_details=billing_details(),
        customer=customer,
        customer_account=None,
        metadata={},
        type=kind,
        **{kind: bank(number) if kind == "us_bank_account" else card(number)},
    )
    account.numbers[method["id"]] = number
    return method


def billing_details(email: str | None = None) -> Object:
    return {"address": address(), "email": email, "name": None, "phone": None, "tax_id": None}


def address() -> Object:
    return {"city": None, "country": None, "line1": None, "line2": None, "postal_code": None, "state": None}


def card(number: str) -> Object:
    return {
        "brand": "visa",
        "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
        "country": "US",
        "display_brand": "visa",
        "exp_month": 12,
        "exp_year": 2040,
        "fingerprint": f"pretend{number[-4:]}",
        "funding": "credit",
        "generated_from": None,
        "last4": number[-4:],
        "networks": {"available": ["visa"], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }


def bank(number: str) -> Object:
    return {
        "account_holder_type": "individual",
        "account_type": "checking",
        "bank_name": "PRETEND BANK",
        "financial_connections_account": None,
        "fingerprint": "pretendbank",
        "last4": "6789",
        "networks": {"preferred": "ach", "supported": ["ach"]},
        "routing_number": "110000000",
        "status_details": {},
    }


def find(account: Account, id: str) -> Object:
    """Return the payment method; one of the well-known ids makes a new one."""
    if id in WELL_KNOWN:
        return create(account, WELL_KNOWN[id])
    return account.get("payment_method", id, "payment_method")


def attach(account: Account, method: Object, customer: str) -> None:
    if method["customer"] != customer:
        method["customer"] = customer
        account.emit("payment_method.attached", method)


@route("GET", "/v1/payment_methods", "customer", "type", *PAGING)
def list_(account: Account, params: Params) -> Object:
    return page(matching(account.all("payment_method"), params, "customer", "type"), params, "/v1/payment_methods")


@route("GET", "/v1/customers/{id}/payment_methods", "type", "allow_redisplay", *PAGING)
def list_of_customer(account: Account, params: Params, customer: str) -> Object:
    account.get("customer", customer)
    mine = [method for method in account.all("payment_method") if method["customer"] == customer]
    return page(matching(mine, params, "type"), params, f"/v1/customers/{customer}/payment_methods")


@route("GET", "/v1/payment_methods/{id}")
@route("GET", "/v1/customers/{customer}/payment_methods/{id}")
def retrieve(account: Account, params: Params, *ids: str) -> Object:
    method = account.get("payment_method", ids[-1])
    if len(ids) == 2 and method["customer"] != ids[0]:
        raise Refused(f"No such PaymentMethod: '{ids[1]}'", status=404, code="resource_missing", param="payment_method")
    return method


@route("POST", "/v1/payment_methods/{id}/attach", "customer")
def attach_to(account: Account, params: Params, id: str) -> Object:
    customer = account.get("customer", params.need("customer"), "customer")
    method = find(account, id)
    attach(account, method, customer["id"])
    return method


@route("POST", "/v1/payment_methods/{id}/detach")
def detach(account: Account, params: Params, id: str) -> Object:
    method = account.get("payment_method", id)
    if method["customer"] is None:
        raise Refused("The payment method you provided is not attached to a customer so detachment is impossible.")
    before: Any = {"customer": method["customer"]}
    method["customer"] = None
    account.emit("payment_method.detached", method, before)
    return method
