"""What customers do on the pay page: pay, subscribe or save a card, and so complete a Checkout Session."""

from typing import Any

from tests.stripe_server import cards, coupons, customers, invoices, payments, subscriptions
from tests.stripe_server.account import Account, Object, secret_of
from tests.stripe_server.checkout import details, lines_of, retrieve
from tests.stripe_server.errors import Refused
from tests.stripe_server.params import Params
from tests.stripe_server.routes import route

TAX_PERCENT = 20  # of a shop that lets Stripe work the tax out


def pay(account: Account, session: Object, number: str, email: str | None = None, code: str | None = None) -> None:
    """Do what the pay page does when its button is pressed.

    Raises:
        Refused: the session is over, or the bank declined, which leaves it open for another card.
    """
    retrieve(account, Params(), session["id"])  # which may find that it has expired
    if session["status"] != "open":
        raise Refused(f"This checkout session is {session['status']}.")
    method = cards.create(account, number)
    total_up(account, session, code)
    customer = customer_of(account, session, email)
    match session["mode"]:
        case "payment":
            take_payment(account, session, method, customer)
        case "subscription":
            subscribe(account, session, method, customer)
        case "setup":
            save_card(account, session, method, customer)
    session |= {"status": "complete", "url": None, "customer": customer and customer["id"]}
    address = email or session["customer_email"] or (customer and customer["email"])
    session["customer_details"] = {"email": address, **details(), "address": cards.address() | {"country": "US"}}
    account.emit("checkout.session.completed", session)


def total_up(account: Account, session: Object, code: str | None) -> None:
    """Work out discount and tax, which are known only once the customer is there."""
    rows = lines_of(account, session)
    if not rows:
        return
    discount = coupons.discount(account, session, code)
    taxable = session["amount_subtotal"] - discount
    taxed = session["automatic_tax"]["enabled"]
    inside = rows[0]["price"]["tax_behavior"] == "inclusive"
    share = TAX_PERCENT / (100 + TAX_PERCENT) if inside else TAX_PERCENT / 100
    tax = round(taxable * share) if taxed else 0
    session["total_details"] = {"amount_discount": discount, "amount_shipping": 0, "amount_tax": tax}
    session["amount_total"] = taxable if inside else taxable + tax
    if taxed:
        session["automatic_tax"] = session["automatic_tax"] | {"status": "complete"}


def customer_of(account: Account, session: Object, email: str | None) -> Object | None:
    if session["customer"]:
        return account.objects[session["customer"]]
    if session["customer_creation"] != "always":
        return None
    if "_customer" not in session:  # a first card may have been declined
        made = customers.create(account, email=email or session["customer_email"] or "jenny@example.com")
        session["_customer"] = made["id"]
    return account.objects[session["_customer"]]


def take_payment(account: Account, session: Object, method: Object, customer: Object | None) -> None:
    data = Params(session["_data"])
    if session["amount_total"] == 0:
        session["payment_status"] = "no_payment_required"
        return
    intent = account.objects.get(session["payment_intent"] or "")
    if intent is None:
        intent = payments.create(
            account,
            session["amount_total"],
            session["currency"],
            customer=customer and customer["id"],
            description=data.text("description"),
            metadata=data.metadata(),
            receipt_email=data.text("receipt_email"),
            setup_future_usage=data.text("setup_future_usage"),
        )
        session["payment_intent"] = intent["id"]
    intent["amount"] = session["amount_total"]
    payments.confirm(account, intent, method)
    session["payment_status"] = "paid" if intent["status"] == "succeeded" else "unpaid"
    if session["_invoice"] and customer and intent["status"] == "succeeded":
        period = (account.now(), account.now())
        rows = [
            invoices.line(account, row["price"], row["amount_subtotal"], period) for row in lines_of(account, session)
        ]
        totals = {
            "discount": session["total_details"]["amount_discount"],
            "tax": session["total_details"]["amount_tax"],
        }
        invoice = invoices.create(account, customer, rows, "manual", **totals)
        session["invoice"] = invoice["id"]
        invoices.settle(account, invoice)


def subscribe(account: Account, session: Object, method: Object, customer: Object | None) -> None:
    assert customer  # this mode always has one
    if account.numbers[method["id"]] == cards.BANK_DEBIT:
        raise Refused("This shop takes only cards for subscriptions.", status=402, type="card_error")
    data = Params(session["_data"])
    if refusal := cards.refusal(account, method, off_session=False):
        raise Refused(refusal.message, status=402, type="card_error", code=refusal.code)
    cards.attach(account, method, customer["id"])
    price = lines_of(account, session)[0]["price"]
    fields: dict[str, Any] = {"metadata": data.metadata(), "description": data.text("description")}
    subscription = subscriptions.create(account, customer, account.objects[price["id"]], method, **fields)
    totals = {"discount": session["total_details"]["amount_discount"], "tax": session["total_details"]["amount_tax"]}
    invoice = subscriptions.bill(account, subscription, "subscription_create", **totals)
    account.emit("customer.subscription.created", subscription)
    subscriptions.pay(account, invoice, method, off_session=False)
    session |= {"subscription": subscription["id"], "invoice": invoice["id"], "payment_status": "paid"}


def save_card(account: Account, session: Object, method: Object, customer: Object | None) -> None:
    if refusal := cards.refusal(account, method, off_session=False):
        raise Refused(refusal.message, status=402, type="card_error", code=refusal.code)
    data = Params(session["_data"])
    intent = account.new(
        "setup_intent",
        application=None,
        automatic_payment_methods=None,
        cancellation_reason=None,
        client_secret=None,
        customer=customer and customer["id"],
        customer_account=None,
        description=data.text("description"),
        excluded_payment_method_types=None,
        flow_directions=None,
        last_setup_error=None,
        latest_attempt=None,
        mandate=None,
        metadata=data.metadata(),
        next_action=None,
        on_behalf_of=None,
        payment_method=method["id"],
        payment_method_configuration_details=None,
        payment_method_options={},
        payment_method_types=["card"],
        single_use_mandate=None,
        status="succeeded",
        usage="off_session",
    )
    intent["client_secret"] = secret_of(intent["id"])
    if customer:
        cards.attach(account, method, customer["id"])
    session["setup_intent"] = intent["id"]
    account.emit("setup_intent.created", intent)
    account.emit("setup_intent.succeeded", intent)


def settle_bank_debit(account: Account, session: Object, paid: bool) -> None:
    """Let the money of a bank debit arrive, or not."""
    intent = account.objects[session["payment_intent"]]
    if intent["status"] != "processing":
        raise Refused(f"Payment {intent['id']} is {intent['status']}.")
    charge = account.objects[intent["latest_charge"]]
    if paid:
        payments.succeed(account, intent, charge)
        session["payment_status"] = "paid"
        account.emit("checkout.session.async_payment_succeeded", session)
    else:
        payments.fail(account, intent, charge, cards.INSUFFICIENT)
        account.emit("checkout.session.async_payment_failed", session)


@route("GET", "/v1/setup_intents/{id}", "client_secret")
def retrieve_setup(account: Account, params: Params, id: str) -> Object:
    return account.get("setup_intent", id)
