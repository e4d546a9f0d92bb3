"""Customers."""

from typing import Any

from tests.stripe_server import cards
from tests.stripe_server.account import Account, Object
from tests.stripe_server.lists import PAGING, matching, page
from tests.stripe_server.params import Params
from tests.stripe_server.routes import route

CHANGEABLE = ("address", "description", "email", "metadata", "name", "phone", "preferred_locales", "shipping")
KNOWN = (*CHANGEABLE, "balance", "invoice_settings", "tax", "tax_exempt")


def create(account: Account, email: str | None = None, **fields: Any) -> Object:
    customer = account.new(
        "customer",
        **{
            "address": None,
            "balance": 0,
            "currency": None,
            "customer_account": None,
            "default_source": None,
            "delinquent": False,
            "description": None,
            "discount": None,
            "email": email,
            "invoice_prefix": f"PRETEND{len(account.objects)}",
            "invoice_settings": {
                "custom_fields": None,
                "default_payment_method": None,
                "footer": None,
                "rendering_options": None,
            },
            "metadata": {},
            "name": None,
            "next_invoice_sequence": 1,
            "phone": None,
            "preferred_locales": [],
            "shipping": None,
            "tax_exempt": "none",
            "test_clock": None,
        }
        | fields,
    )
    account.emit("customer.created", customer)
    return customer


def changes(account: Account, params: Params, customer: Object | None = None) -> dict[str, Any]:
    """Return the fields that the parameters change."""
    known = customer or {"metadata": {}, "invoice_settings": {}}
    found: dict[str, Any] = {
        name: params.text(name) for name in ("description", "email", "name", "phone") if name in params
    }
    if params.get("address"):
        found["address"] = cards.address() | params.map("address")
    if "metadata" in params:
        found["metadata"] = params.metadata(known["metadata"])
    if method := params.map("invoice_settings").text("default_payment_method"):
        account.get("payment_method", method, "invoice_settings[default_payment_method]")
        found["invoice_settings"] = known["invoice_settings"] | {"default_payment_method": method}
    return found


@route("POST", "/v1/customers", *KNOWN, "payment_method")
def create_(account: Account, params: Params) -> Object:
    fields = changes(account, params)
    method = cards.find(account, params["payment_method"]) if params.get("payment_method") else None
    settings = fields.pop("invoice_settings", None)
    customer = create(account, **fields)
    customer["invoice_settings"] |= settings or {}
    if method:
        cards.attach(account, method, customer["id"])
    return customer


@route("GET", "/v1/customers", "created", "email", *PAGING)
def list_(account: Account, params: Params) -> Object:
    return page(matching(account.all("customer"), params, "email"), params, "/v1/customers")


@route("GET", "/v1/customers/{id}")
def retrieve(account: Account, params: Params, id: str) -> Object:
    customer = account.get("customer", id)
    return {"id": id, "object": "customer", "deleted": True} if customer.get("_deleted") else customer


@route("POST", "/v1/customers/{id}", *KNOWN, "default_source")
def update(account: Account, params: Params, id: str) -> Object:
    customer = account.get("customer", id)
    account.change(customer, "customer.updated", **changes(account, params, customer))
    return customer


@route("DELETE", "/v1/customers/{id}")
def delete(account: Account, params: Params, id: str) -> Object:
    from tests.stripe_server import subscriptions  # which know customers

    customer = account.get("customer", id)
    for subscription in account.all("subscription"):
        if subscription["customer"] == id and subscription["status"] != "canceled":
            subscriptions.end(account, subscription, "cancellation_requested")
    customer["_deleted"] = True
    account.emit("customer.deleted", customer)
    return {"id": id, "object": "customer", "deleted": True}
