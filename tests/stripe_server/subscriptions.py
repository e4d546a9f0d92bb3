"""Subscriptions: begun at a checkout, renewed by time, changed and ended by the customer or the API."""

import calendar
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.stripe_server import invoices
from tests.stripe_server.account import Account, Object
from tests.stripe_server.errors import Refused
from tests.stripe_server.lists import PAGING, matching, page, whole
from tests.stripe_server.params import Params
from tests.stripe_server.routes import route


def create(account: Account, customer: Object, price: Object, method: Object, **fields: Any) -> Object:
    """Make an incomplete subscription; its first paid invoice makes it active."""
    now = account.now()
    subscription = account.new(
        "subscription",
        **{
            "application": None,
            "application_fee_percent": None,
            "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
            "billing_cycle_anchor": now,
            "billing_cycle_anchor_config": None,
            "billing_mode": {"flexible": None, "type": "classic"},
            "billing_schedules": [],
            "billing_thresholds": None,
            "cancel_at": None,
            "cancel_at_period_end": False,
            "canceled_at": None,
            "cancellation_details": {"comment": None, "feedback": None, "reason": None},
            "collection_method": "charge_automatically",
            "currency": price["currency"],
            "customer": customer["id"],
            "customer_account": None,
            "days_until_due": None,
            "default_payment_method": method["id"],
            "default_source": None,
            "default_tax_rates": [],
            "description": None,
            "discounts": [],
            "ended_at": None,
            "invoice_settings": {
                "account_tax_ids": None,
                "custom_fields": None,
                "description": None,
                "footer": None,
                "issuer": {"type": "self"},
            },
            "latest_invoice": None,
            "metadata": {},
            "next_pending_invoice_item_invoice": None,
            "on_behalf_of": None,
            "pause_collection": None,
            "payment_settings": {
                "payment_method_options": None,
                "payment_method_types": None,
                "save_default_payment_method": "off",
            },
            "pending_invoice_item_interval": None,
            "pending_setup_intent": None,
            "pending_update": None,
            "schedule": None,
            "start_date": now,
            "status": "incomplete",
            "test_clock": None,
            "transfer_data": None,
            "trial_end": None,
            "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
            "trial_start": None,
        }
        | fields,
    )
    item = account.new(
        "subscription_item",
        billing_thresholds=None,
        current_period_end=after(now, price["recurring"]),
        current_period_start=now,
        discounts=[],
        metadata={},
        plan=plan(price),
        price=price,
        quantity=1,
        subscription=subscription["id"],
        tax_rates=[],
    )
    del item["livemode"], account.objects[item["id"]]  # it lives in its subscription
    subscription["items"] = whole([item], f"/v1/subscription_items?subscription={subscription['id']}")
    return subscription


def plan(price: Object) -> Object:
    """Return the price in its older form, which items still carry."""
    same = ("active", "billing_scheme", "created", "currency", "id", "livemode", "metadata", "nickname", "product")
    return {name: price[name] for name in same} | {
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "interval": price["recurring"]["interval"],
        "interval_count": price["recurring"]["interval_count"],
        "meter": None,
        "object": "plan",
        "tiers_mode": None,
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }


def after(start: int, recurring: Object) -> int:
    """Return when a period that begins at `start` ends: the same day of a later month, or its last."""
    count, at = recurring["interval_count"], datetime.fromtimestamp(start, UTC)
    if recurring["interval"] in ("day", "week"):
        days = count * (7 if recurring["interval"] == "week" else 1)
        return int((at + timedelta(days=days)).timestamp())
    months = at.month - 1 + count * (12 if recurring["interval"] == "year" else 1)
    year, month = at.year + months // 12, months % 12 + 1
    day = min(at.day, calendar.monthrange(year, month)[1])
    return int(at.replace(year=year, month=month, day=day).timestamp())


def item_of(subscription: Object) -> Object:
    return subscription["items"]["data"][0]


def bill(account: Account, subscription: Object, reason: str, **fields: Any) -> Object:
    """Make the invoice of the subscription's current period."""
    item = item_of(subscription)
    period = (item["current_period_start"], item["current_period_end"])
    row = invoices.line(account, item["price"], item["price"]["unit_amount"], period, item)
    customer = account.objects[subscription["customer"]]
    invoice = invoices.create(account, customer, [row], reason, subscription=subscription, **fields)
    subscription["latest_invoice"] = invoice["id"]
    return invoice


def pay(account: Account, invoice: Object, method: Object | None = None, off_session: bool = True) -> None:
    """Try to pay an invoice with the card that it falls to, and let its subscription follow.

    Raises:
        Refused: the bank declined; invoice and subscription say so.
    """
    subscription = account.objects.get(invoices.subscription_id(invoice) or "")
    try:
        invoices.pay(account, invoice, method or card_for(account, invoice, subscription), off_session)
    except Refused:
        if subscription and subscription["status"] == "active":
            account.change(subscription, "customer.subscription.updated", status="past_due")
        raise
    if subscription and subscription["status"] in ("past_due", "incomplete", "unpaid"):
        account.change(subscription, "customer.subscription.updated", status="active")


def card_for(account: Account, invoice: Object, subscription: Object | None) -> Object | None:
    settings = account.objects[invoice["customer"]]["invoice_settings"]
    return account.objects.get(
        (subscription and subscription["default_payment_method"]) or settings["default_payment_method"] or ""
    )


def renew(account: Account, subscription: Object) -> Object:
    """Begin the next period and try to pay for it; a subscription that was to end then ends instead.

    Returns the invoice, or the subscription that ended.
    """
    if subscription["status"] not in ("active", "past_due"):
        raise Refused(f"Subscription {subscription['id']} is {subscription['status']}.")
    if subscription["cancel_at_period_end"]:
        end(account, subscription, "cancellation_requested")
        return subscription
    item = item_of(subscription)
    before = {"items": {"data": [dict(item)]}, "latest_invoice": subscription["latest_invoice"]}
    item["current_period_start"] = item["current_period_end"]
    item["current_period_end"] = after(item["current_period_start"], item["price"]["recurring"])
    invoice = bill(account, subscription, "subscription_cycle")
    account.emit("customer.subscription.updated", subscription, before)
    with suppress(Refused):  # a person who was not there is told by events
        pay(account, invoice)
    return invoice


def change_price(account: Account, subscription: Object, price: Object, prorations: str = "always_invoice") -> None:
    """Move to another price; `always_invoice` settles the difference for the rest of the period at once."""
    item = item_of(subscription)
    old = item["price"]
    if old["id"] == price["id"]:
        return
    if price["type"] != "recurring":
        raise Refused("The price specified is set to `type=one_time` but a recurring one is needed.", param="items")
    before = {"items": {"data": [dict(item)]}}
    item |= {"price": price, "plan": plan(price)}
    account.emit("customer.subscription.updated", subscription, before)
    if prorations != "always_invoice":
        return
    start, finish, now = item["current_period_start"], item["current_period_end"], account.now()
    left = max(0.0, min(1.0, (finish - now) / (finish - start)))
    lines = [
        invoices.line(account, old, -round(old["unit_amount"] * left), (now, finish), item, proration=True),
        invoices.line(account, price, round(price["unit_amount"] * left), (now, finish), item, proration=True),
    ]
    customer = account.objects[subscription["customer"]]
    invoice = invoices.create(account, customer, lines, "subscription_update", subscription=subscription)
    subscription["latest_invoice"] = invoice["id"]
    with suppress(Refused):
        pay(account, invoice)


def end(account: Account, subscription: Object, reason: str) -> None:
    now = account.now()
    subscription |= {"status": "canceled", "canceled_at": subscription["canceled_at"] or now, "ended_at": now}
    subscription["cancellation_details"] = {"comment": None, "feedback": None, "reason": reason}
    account.emit("customer.subscription.deleted", subscription)


def cancel_at_period_end(account: Account, subscription: Object, wish: bool) -> None:
    account.change(
        subscription,
        "customer.subscription.updated",
        cancel_at_period_end=wish,
        cancel_at=item_of(subscription)["current_period_end"] if wish else None,
        canceled_at=account.now() if wish else None,
    )


@route("GET", "/v1/subscriptions", "created", "customer", "price", "status", *PAGING)
def list_(account: Account, params: Params) -> Object:
    wanted = matching(account.all("subscription"), params, "customer")
    if price := params.text("price"):
        wanted = [row for row in wanted if item_of(row)["price"]["id"] == price]
    status = params.text("status")
    if status is None:
        wanted = [row for row in wanted if row["status"] != "canceled"]
    elif status not in ("all", "ended"):
        wanted = [row for row in wanted if row["status"] == status]
    return page(wanted, params, "/v1/subscriptions")


@route("GET", "/v1/subscriptions/{id}")
def retrieve(account: Account, params: Params, id: str) -> Object:
    return account.get("subscription", id)


@route(
    "POST",
    "/v1/subscriptions/{id}",
    *("cancel_at_period_end", "default_payment_method", "items", "metadata", "payment_behavior", "proration_behavior"),
    *("billing_cycle_anchor", "description"),
)
def update(account: Account, params: Params, id: str) -> Object:
    subscription = account.get("subscription", id)
    if subscription["status"] == "canceled":
        raise Refused("A canceled subscription can only update its cancellation_details and metadata.")
    behaviors = ("always_invoice", "create_prorations", "none")
    prorations = params.one_of("proration_behavior", behaviors, "create_prorations")
    items = params.maps("items")
    price = account.get("price", items[0].need("price"), "items[0][price]") if items else None
    method = params.text("default_payment_method")
    if method:
        account.get("payment_method", method, "default_payment_method")
    if "metadata" in params or method:
        fields = {"default_payment_method": method} if method else {}
        metadata = params.metadata(subscription["metadata"])
        account.change(subscription, "customer.subscription.updated", metadata=metadata, **fields)
    if "cancel_at_period_end" in params:
        cancel_at_period_end(account, subscription, params.switch("cancel_at_period_end"))
    if price:
        change_price(account, subscription, price, prorations)
    return subscription


@route("DELETE", "/v1/subscriptions/{id}", "cancellation_details", "invoice_now", "prorate")
def cancel(account: Account, params: Params, id: str) -> Object:
    subscription = account.get("subscription", id)
    if subscription["status"] == "canceled":
        raise Refused(f"No such subscription: '{id}'", status=404, code="resource_missing", param="id")
    end(account, subscription, "cancellation_requested")
    return subscription


@route("GET", "/v1/subscription_items", "subscription", *PAGING)
def list_items(account: Account, params: Params) -> Object:
    items = [item_of(subscription) for subscription in account.all("subscription")]
    return page(matching(items, params, "subscription"), params, "/v1/subscription_items")
