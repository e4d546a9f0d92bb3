"""Every object has fields that the SDK's class knows, of the types that it names, and all that it demands."""

import json
import types
import typing
from collections.abc import Callable
from decimal import Decimal
from importlib import import_module
from typing import Any

import pytest
import stripe
from stripe._object_classes import OBJECT_CLASSES as WHERE

from tests.stripe_server import PretendStripe, cards

ONLY_WHEN_EXPANDED = {"line_items", "refunds", "payments", "subscriptions", "sources", "tax_ids", "cash_balance", "tax"}
OLDER = {"discount", "plan", "subscription", "billing_schedules", "source"}  # the SDK's classes no longer name them


@pytest.fixture
def everything(
    server: PretendStripe, client: Any, checkout: Callable[..., Any], subscription: str, plans: tuple[str, str]
) -> list[dict[str, Any]]:
    """At least one object of every kind, as JSON."""
    customer = client.customers.create({"email": "a@example.org", "address": {"country": "US"}}).id
    buying = {"customer": customer, "invoice_creation": {"enabled": True}}
    bought = server.world.pay(checkout(**buying, payment_intent_data={"setup_future_usage": "off_session"}).id)
    server.world.pay(checkout(mode="setup", customer=customer, line_items="", currency="usd").id, cards.AUTHENTICATES)
    server.world.pay(checkout().id, cards.BANK_DEBIT)
    charge = client.payment_intents.retrieve(bought["payment_intent"]).latest_charge
    client.refunds.create({"charge": charge, "amount": 1})
    server.world.dispute(charge)
    server.world.change_plan(subscription, plans[1])
    coupon = client.coupons.create({"percent_off": 10}).id
    client.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon}})
    client.billing_portal.sessions.create({"customer": customer, "return_url": "https://shop.example"})
    kinds = {thing["object"] for thing in server.account.objects.values()}
    return [thing for kind in kinds for thing in server.world.all(kind)]


def test_every_object_has_the_shape_that_the_sdk_knows(everything: list[dict[str, Any]]) -> None:
    assert {thing["object"] for thing in everything} >= {
        *("billing_portal.session", "charge", "checkout.session", "coupon", "customer", "dispute", "event", "invoice"),
        *("invoice_payment", "item", "payment_intent", "payment_method", "price", "product", "promotion_code"),
        *("refund", "setup_intent", "subscription"),
    }

    assert (
        "\n".join(sorted({fault for thing in everything for fault in faults(thing, sdk_class(thing["object"]))})) == ""
    )


def sdk_class(kind: str) -> type:
    module, name = WHERE[kind]
    return getattr(import_module(module), name)


def faults(value: dict[str, Any], cls: type, path: str = "") -> list[str]:
    """Return a sentence for every field that is unknown, missing or of another type."""
    path = path or value.get("object", "")
    hints = {name: hint for name, hint in cls.__annotations__.items() if not is_class_variable(hint)}
    unknown = value.keys() - hints.keys() - OLDER
    lacking = {name for name, hint in hints.items() if not is_optional(hint)} - value.keys()
    found = [f"{path}.{name} is unknown" for name in unknown] + [f"{path}.{name} is missing" for name in lacking]
    for name in value.keys() & hints.keys():
        if not fits(value[name], hints[name]):
            found.append(f"{path}.{name} is {json.dumps(value[name])[:40]}, not {hints[name]}"[:200])
        elif isinstance(value[name], dict) and (inner := class_inside(hints[name])):
            found += faults(value[name], inner, f"{path}.{name}")
    return found


def is_class_variable(hint: Any) -> bool:
    return typing.get_origin(hint) is typing.ClassVar


def is_optional(hint: Any) -> bool:
    return type(None) in typing.get_args(hint)


def class_inside(hint: Any) -> type | None:
    """Return the SDK's class for a nested object that has fields of its own."""
    for choice in choices(hint):
        if (
            isinstance(choice, type)
            and issubclass(choice, stripe.StripeObject)
            and choice.__module__ != "stripe._list_object"
        ):
            return choice if choice.__annotations__ else None
    return None


def choices(hint: Any) -> tuple[Any, ...]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return tuple(inner for arg in typing.get_args(hint) for inner in choices(arg))
    return (hint,)


def fits(value: Any, hint: Any) -> bool:
    return any(fits_one(value, choice) for choice in choices(hint))


def fits_one(value: Any, hint: Any) -> bool:
    origin = typing.get_origin(hint)
    if hint is Any or isinstance(hint, str):
        return True
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if origin is list:
        return isinstance(value, list)
    if hint is Decimal:
        return isinstance(value, str)  # on the wire
    if hint in (int, str, bool, float, type(None)):
        return type(value) is hint or (hint is float and type(value) is int)
    if hint.__class__ is type or origin:
        return isinstance(value, dict) or (hint is getattr(hint, "__origin__", None))
    return isinstance(value, str | dict)
