"""The pages that people see: paying, the customer portal, receipts, and a dashboard of what may happen next."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.template import Context, Engine

from tests.stripe_server import cards, checkout, completion, disputes, invoices, refunds, subscriptions
from tests.stripe_server.account import Account, Object
from tests.stripe_server.errors import Refused
from tests.stripe_server.params import Params
from tests.stripe_server.webhooks import Webhooks

FOLDER = Path(__file__).parent / "templates"
CARDS = [
    (cards.PAYS, "pays"),
    (cards.DECLINED, "is declined"),
    (cards.NO_FUNDS, "has no funds"),
    (cards.DECLINED_LATER, "pays now; when it was saved, later charges are declined"),
    (cards.AUTHENTICATES, "pays now; when it was saved, later charges want its owner"),
]
engine = Engine(dirs=[str(FOLDER)])


@dataclass(frozen=True)
class Page:
    """What a browser is sent."""

    content: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "text/html; charset=utf-8"})


def render(name: str, status: int = 200, **context: Any) -> Page:
    return Page(engine.get_template(name).render(Context(context)).encode(), status)


def redirect(url: str) -> Page:
    return Page(status=303, headers={"Location": url})


def show(account: Account, method: str, path: str, params: Params, webhooks: Webhooks) -> Page:
    """Answer a browser."""
    match path.strip("/").split("/"):
        case ["pretend.css"]:
            return Page((FOLDER / "pretend.css").read_bytes(), headers={"Content-Type": "text/css"})
        case ["favicon.ico"]:
            return Page(status=204)
        case [""] if method == "GET":
            return dashboard(account)
        case ["do"] if method == "POST":
            return do(account, params, webhooks)
        case ["pay", id] if id in account.objects:
            return pay(account, account.objects[id], params if method == "POST" else None)
        case ["portal", id] if id in account.objects:
            return portal(account, account.objects[id], params if method == "POST" else None)
        case ["receipts", id] if id in account.objects:
            return render("receipt.html", charge=account.objects[id], amount=money(account.objects[id]))
        case ["invoices", id] | ["invoices", id, "pdf"] if id in account.objects:
            return invoice(account.objects[id])
    return render("gone.html", 404)


def money(thing: Object, name: str = "amount") -> str:
    cents = thing[name] or 0
    return f"{cents // 100}.{cents % 100:02} {(thing['currency'] or 'usd').upper()}"


def pay(account: Account, session: Object, typed: Params | None) -> Page:
    """Show the pay page, or do what was typed into it and go where the shop said."""
    checkout.retrieve(account, Params(), session["id"])  # which may find that it has expired
    error, status = "", 200
    if typed is not None and session["status"] == "open":
        number = cards.BANK_DEBIT if typed.text("method") == "bank" else typed.text("card") or ""
        try:
            completion.pay(account, session, number, typed.text("email"), typed.text("code"))
        except Refused as refusal:
            error, status = str(refusal), 402
    if session["status"] == "complete":
        return redirect(session["success_url"].replace("{CHECKOUT_SESSION_ID}", session["id"]))
    if session["status"] == "expired":
        return render("gone.html", 410, back=session["cancel_url"])
    rows = [
        {"text": row["description"], "amount": money(row, "amount_subtotal")}
        for row in checkout.lines_of(account, session)
    ]
    email = session["customer_email"] or (session["customer"] and account.objects[session["customer"]]["email"]) or ""
    return render(
        "pay.html",
        status,
        session=session,
        rows=rows,
        total=money(session, "amount_total"),
        email=(typed and typed.text("email")) or email,
        fixed_email=bool(email),
        card=(typed and typed.text("card")) or "4242 4242 4242 4242",
        cards=[(spaced(number), text) for number, text in CARDS],
        error=error,
    )


def spaced(number: str) -> str:
    return " ".join(number[k : k + 4] for k in range(0, 16, 4))


def portal(account: Account, session: Object, typed: Params | None) -> Page:
    """Show the customer's subscriptions, or change one."""
    mine = [row for row in account.all("subscription") if row["customer"] == session["customer"]]
    error = ""
    if typed is not None:
        try:
            change(account, session["customer"], typed)
        except Refused as refusal:
            error = str(refusal)
    rows = [
        {
            "subscription": row,
            "name": price_name(account, subscriptions.item_of(row)["price"]),
            "choices": [
                (price["id"], price_name(account, price))
                for price in account.all("price")
                if price["active"] and price["recurring"]
            ],
            "chosen": subscriptions.item_of(row)["price"]["id"],
        }
        for row in mine
        if row["status"] != "canceled"
    ]
    paid = [row for row in account.all("invoice") if row["customer"] == session["customer"]]
    return render(
        "portal.html",
        session=session,
        rows=rows,
        invoices=[(row, money(row, "total")) for row in reversed(paid)],
        cards=[(spaced(number), text) for number, text in CARDS],
        error=error,
    )


def price_name(account: Account, price: Object) -> str:
    every = price["recurring"]["interval"]
    return f"{account.objects[price['product']]['name']}: {money(price, 'unit_amount')} a {every}"


def change(account: Account, customer: str, typed: Params) -> None:
    """Do what a form of the portal asks for."""
    if typed.text("do") == "card":
        method = cards.create(account, typed.text("card") or "", customer)
        account.emit("payment_method.attached", method)
        owner = account.objects[customer]
        account.change(
            owner,
            "customer.updated",
            invoice_settings=owner["invoice_settings"] | {"default_payment_method": method["id"]},
        )
        for row in account.all("subscription"):
            if row["customer"] == customer:
                row["default_payment_method"] = method["id"]
        return
    subscription = account.get("subscription", typed.text("subscription"))
    if subscription["customer"] != customer or subscription["status"] == "canceled":
        raise Refused("There is no such subscription.")
    match typed.text("do"):
        case "plan":
            subscriptions.change_price(account, subscription, account.get("price", typed.text("price")))
        case "cancel":
            subscriptions.cancel_at_period_end(account, subscription, True)
        case "resume":
            subscriptions.cancel_at_period_end(account, subscription, False)
        case "end":
            subscriptions.end(account, subscription, "cancellation_requested")


def invoice(found: Object) -> Page:
    rows = [(row["description"], money(row)) for row in found["lines"]["data"]]
    return render("invoice.html", invoice=found, rows=rows, total=money(found, "total"))


def dashboard(account: Account, error: str = "") -> Page:
    """Show what there is, newest first, with a button for each thing that may happen to it."""
    charges = [(row, money(row), left(row)) for row in reversed(account.all("charge"))]
    waiting = [
        row
        for row in reversed(account.all("checkout.session"))
        if row["status"] == "complete" and row["payment_status"] == "unpaid"
    ]
    return render(
        "dashboard.html",
        error=error,
        charges=charges,
        waiting=waiting,
        subscriptions=list(reversed(account.all("subscription"))),
        disputes=list(reversed(account.all("dispute"))),
        events=list(reversed(account.all("event")))[:30],
        pending={event["id"] for event in account.pending},
    )


def left(charge: Object) -> str:
    cents = charge["amount_captured"] - charge["amount_refunded"]
    return (
        money(charge | {"amount": cents})
        if charge["status"] == "succeeded" and cents and not charge["disputed"]
        else ""
    )


def do(account: Account, typed: Params, webhooks: Webhooks) -> Page:
    """Let what a button of the dashboard names happen."""
    id, what = typed.text("id") or "", typed.text("what") or ""
    deeds: dict[str, Callable[[], Any]] = {
        "refund": lambda: refunds.create(account, account.get("charge", id)),
        "refund half": lambda: refunds.create(
            account, account.get("charge", id), account.get("charge", id)["amount"] // 2
        ),
        "dispute": lambda: disputes.create(account, account.get("charge", id)),
        "win": lambda: disputes.close(account, account.get("dispute", id), won=True),
        "lose": lambda: disputes.close(account, account.get("dispute", id), won=False),
        "arrive": lambda: completion.settle_bank_debit(account, account.get("checkout.session", id), paid=True),
        "fail": lambda: completion.settle_bank_debit(account, account.get("checkout.session", id), paid=False),
        "renew": lambda: subscriptions.renew(account, account.get("subscription", id)),
        "retry": lambda: retry(account, account.get("subscription", id)),
        "end": lambda: subscriptions.end(account, account.get("subscription", id), "payment_failed"),
        "send again": lambda: account.pending.append(account.get("event", id)),
    }
    if what not in deeds:
        return render("gone.html", 404)
    try:
        deeds[what]()
    except Refused as refusal:
        return dashboard(account, str(refusal))
    return redirect("/")


def retry(account: Account, subscription: Object) -> None:
    for row in account.all("invoice"):
        if invoices.subscription_id(row) == subscription["id"] and row["status"] == "open":
            subscriptions.pay(account, row)
