"""Invoices, their lines, and the InvoicePayments that connect them with PaymentIntents."""

from typing import Any

from tests.stripe_server import cards, payments
from tests.stripe_server.account import Account, Object
from tests.stripe_server.errors import Refused
from tests.stripe_server.lists import PAGING, matching, page, whole
from tests.stripe_server.params import Params
from tests.stripe_server.routes import route

HOUR = 60 * 60


def create(account: Account, customer: Object, lines: list[Object], reason: str, **fields: Any) -> Object:
    """Make an open invoice over the lines, which `line` made, and say that it was made and finalized."""
    subtotal = sum(row["amount"] for row in lines)
    discount, tax = fields.pop("discount", 0), fields.pop("tax", 0)
    subscription, total, now = fields.pop("subscription", None), subtotal - discount + tax, account.now()
    number = f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04}"
    customer["next_invoice_sequence"] += 1
    due = max(0, total + customer["balance"])
    invoice = account.new(
        "invoice",
        **{
            "account_country": "US",
            "account_name": "Pretend Stripe",
            "account_tax_ids": None,
            "amount_due": due,
            "amount_overpaid": 0,
            "amount_paid": 0,
            "amount_remaining": due,
            "amount_shipping": 0,
            "application": None,
            "attempt_count": 0,
            "attempted": False,
            "auto_advance": False,
            "automatic_tax": {
                "disabled_reason": None,
                "enabled": bool(tax),
                "liability": {"type": "self"} if tax else None,
                "provider": "stripe" if tax else None,
                "status": "complete" if tax else None,
            },
            "automatically_finalizes_at": None,
            "billing_reason": reason,
            "collection_method": "charge_automatically",
            "currency": lines[0]["currency"],
            "custom_fields": None,
            "customer": customer["id"],
            "customer_account": None,
            "customer_address": customer["address"],
            "customer_email": customer["email"],
            "customer_name": customer["name"],
            "customer_phone": customer["phone"],
            "customer_shipping": None,
            "customer_tax_exempt": "none",
            "customer_tax_ids": [],
            "default_payment_method": None,
            "default_source": None,
            "default_tax_rates": [],
            "description": None,
            "discounts": [],
            "due_date": None,
            "effective_at": now,
            "ending_balance": min(0, total + customer["balance"]),
            "footer": None,
            "from_invoice": None,
            "issuer": {"type": "self"},
            "last_finalization_error": None,
            "latest_revision": None,
            "metadata": {},
            "next_payment_attempt": None,
            "number": number,
            "on_behalf_of": None,
            "parent": parent(subscription),
            "payment_settings": {
                "default_mandate": None,
                "payment_method_options": None,
                "payment_method_types": None,
            },
            "period_end": now,
            "period_start": now,
            "post_payment_credit_notes_amount": 0,
            "pre_payment_credit_notes_amount": 0,
            "receipt_number": None,
            "rendering": None,
            "shipping_cost": None,
            "shipping_details": None,
            "starting_balance": customer["balance"],
            "statement_descriptor": None,
            "status": "open",
            "status_transitions": {
                "finalized_at": now,
                "marked_uncollectible_at": None,
                "paid_at": None,
                "voided_at": None,
            },
            "subtotal": subtotal,
            "subtotal_excluding_tax": subtotal,
            "test_clock": None,
            "total": total,
            "total_discount_amounts": [],
            "total_excluding_tax": total - tax,
            "total_pretax_credit_amounts": [],
            "total_taxes": [],
            "webhooks_delivered_at": now,
        }
        | fields,
    )
    customer["balance"] = invoice["ending_balance"]
    id = invoice["id"]
    invoice |= {"hosted_invoice_url": f"{account.url}/invoices/{id}", "invoice_pdf": f"{account.url}/invoices/{id}/pdf"}
    invoice["lines"] = whole([row | {"invoice": id} for row in lines], f"/v1/invoices/{id}/lines")
    account.emit("invoice.created", invoice)
    account.emit("invoice.finalized", invoice)
    return invoice


def parent(subscription: Object | None) -> Object | None:
    if subscription is None:
        return None
    details = {"metadata": dict(subscription["metadata"]), "subscription": subscription["id"]}
    return {"quote_details": None, "subscription_details": details, "type": "subscription_details"}


def line(
    account: Account,
    price: Object,
    amount: int,
    period: tuple[int, int],
    item: Object | None = None,
    proration: bool = False,
) -> Object:
    """Return one line of an invoice that is being made; `item` is that of a subscription."""
    details = None
    if item:
        details = {
            "invoice_item": None,
            "proration": proration,
            "proration_details": {"credited_items": None},
            "subscription": item["subscription"],
            "subscription_item": item["id"],
        }
    row = account.new(
        "line_item",
        amount=amount,
        currency=price["currency"],
        description=account.objects[price["product"]]["name"],
        discount_amounts=[],
        discountable=not proration,
        discounts=[],
        metadata={},
        parent={"invoice_item_details": None, "subscription_item_details": details, "type": "subscription_item_details"}
        if item
        else None,
        period={"start": period[0], "end": period[1]},
        pretax_credit_amounts=[],
        pricing={
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
        quantity=1,
        quantity_decimal="1",
        subscription=item and item["subscription"],
        subtotal=amount,
        taxes=[],
    )
    del row["created"]
    return account.objects.pop(row["id"])  # it lives in its invoice


def pay(account: Account, invoice: Object, method: Object | None, off_session: bool = True) -> None:
    """Try to take what is due.

    Raises:
        Refused: the bank declined; the invoice stays open, and the failed charge and all events remain.
    """
    if invoice["status"] != "open":
        raise Refused("Invoice is already paid", code="invoice_already_paid")
    invoice |= {"attempted": True, "attempt_count": invoice["attempt_count"] + 1}
    if invoice["amount_due"] == 0:
        settle(account, invoice)
        return
    if method is None:
        fail(account, invoice)
        raise Refused(
            "This customer has no attached payment source or default payment method.", code="resource_missing"
        )
    intent = intent_of(account, invoice)
    try:
        payments.confirm(account, intent, method, off_session)
    except Refused:
        fail(account, invoice)
        raise
    settle(account, invoice)


def intent_of(account: Account, invoice: Object) -> Object:
    """Return the invoice's PaymentIntent, of which it has one for all its attempts."""
    for payment in account.all("invoice_payment"):
        if payment["invoice"] == invoice["id"]:
            return account.objects[payment["payment"]["payment_intent"]]
    about = {"customer": invoice["customer"], "description": f"Invoice {invoice['number']}"}
    intent = payments.create(account, invoice["amount_due"], invoice["currency"], **about)
    account.new(
        "invoice_payment",
        amount_paid=None,
        amount_requested=invoice["amount_due"],
        currency=invoice["currency"],
        invoice=invoice["id"],
        is_default=True,
        payment={"type": "payment_intent", "payment_intent": intent["id"]},
        status="open",
        status_transitions={"canceled_at": None, "paid_at": None},
    )
    return intent


def settle(account: Account, invoice: Object) -> None:
    now, paid = account.now(), invoice["amount_due"]
    invoice |= {"status": "paid", "amount_paid": paid, "amount_remaining": 0, "next_payment_attempt": None}
    invoice["status_transitions"] = invoice["status_transitions"] | {"paid_at": now}
    for payment in account.all("invoice_payment"):
        if payment["invoice"] == invoice["id"]:
            payment |= {
                "status": "paid",
                "amount_paid": paid,
                "status_transitions": {"canceled_at": None, "paid_at": now},
            }
            account.emit("invoice_payment.paid", payment)
    account.emit("invoice.paid", invoice)
    account.emit("invoice.payment_succeeded", invoice)


def fail(account: Account, invoice: Object) -> None:
    invoice["next_payment_attempt"] = account.now() + 72 * HOUR
    account.emit("invoice.payment_failed", invoice)


def subscription_id(invoice: Object) -> str | None:
    return invoice["parent"]["subscription_details"]["subscription"] if invoice["parent"] else None


@route("GET", "/v1/invoices", "collection_method", "created", "customer", "status", "subscription", *PAGING)
def list_(account: Account, params: Params) -> Object:
    wanted = matching(account.all("invoice"), params, "collection_method", "customer", "status")
    if wish := params.text("subscription"):
        wanted = [invoice for invoice in wanted if subscription_id(invoice) == wish]
    return page(wanted, params, "/v1/invoices")


@route("GET", "/v1/invoices/{id}")
def retrieve(account: Account, params: Params, id: str) -> Object:
    return account.get("invoice", id)


@route("GET", "/v1/invoices/{id}/lines", *PAGING)
def list_lines(account: Account, params: Params, id: str) -> Object:
    return page(reversed(account.get("invoice", id)["lines"]["data"]), params, f"/v1/invoices/{id}/lines")


@route("POST", "/v1/invoices/{id}/pay", "off_session", "payment_method")
def pay_(account: Account, params: Params, id: str) -> Object:
    from tests.stripe_server import subscriptions  # which know invoices

    invoice = account.get("invoice", id)
    method = cards.find(account, params["payment_method"]) if params.get("payment_method") else None
    subscriptions.pay(account, invoice, method)
    return invoice


@route("POST", "/v1/invoices/{id}/void")
def void(account: Account, params: Params, id: str) -> Object:
    invoice = account.get("invoice", id)
    if invoice["status"] != "open":
        raise Refused(f"You can only void open invoices; this one is {invoice['status']}.")
    invoice |= {"status": "void", "next_payment_attempt": None}
    account.emit("invoice.voided", invoice)
    return invoice


@route("GET", "/v1/invoice_payments", "created", "invoice", "payment", "status", *PAGING)
def list_payments(account: Account, params: Params) -> Object:
    wanted = matching(account.all("invoice_payment"), params, "invoice", "status")
    if intent := params.map("payment").text("payment_intent"):
        wanted = [payment for payment in wanted if payment["payment"].get("payment_intent") == intent]
    return page(wanted, params, "/v1/invoice_payments")


@route("GET", "/v1/invoice_payments/{id}")
def retrieve_payment(account: Account, params: Params, id: str) -> Object:
    return account.get("invoice_payment", id)
