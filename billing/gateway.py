"""Stripe: the only module that imports its library, and none of its objects leaves here.

What is read is the truth of that moment, as frozen dataclasses. Nothing here may be called inside a database
transaction: a slow answer would keep its locks.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any, Literal

import stripe
from django.conf import settings
from stripe import RequestsClient, StripeClient

TIMEOUT_SECONDS = (5, 20)  # to connect, and to answer
RETRIES = 3  # of the SDK's own, with growing pauses and the same idempotency key
EVENT_AGE_SECONDS = 300  # older signatures are replays
EVENT_ID = re.compile(r"evt_\w{1,90}", re.ASCII)
# Inquiries withdraw no money, and what was won comes back. Source: https://docs.stripe.com/disputes/how-disputes-work
HARMLESS_DISPUTES = {"won", "prevented", "warning_needs_response", "warning_under_review", "warning_closed"}

State = Literal["pending", "paid", "failed", "expired"]


class GatewayUnavailable(Exception):
    """Stripe did not answer, or is busy; trying again later may help, with the same idempotency key."""


class GatewayRefused(Exception):
    """Stripe won't do it, however often it is asked."""


class NoSuchObject(GatewayRefused):
    """Stripe has no object of that id in this account."""

    def __init__(self, message: str, param: str = "") -> None:
        super().__init__(message)
        self.param = param  # which parameter named it; empty: the address did


class CardDeclined(Exception):
    """The bank won't pay; the text is for the customer."""


class AuthenticationRequired(CardDeclined):
    """The bank wants its customer to be there."""


class BadEvent(Exception):
    """A message to the webhook is forged, stale, unreadable or about another Stripe account."""


@dataclass(frozen=True)
class Payment:
    """What Stripe says about one payment."""

    status: State
    reference: str = ""  # our Purchase's id, from the metadata
    payment_intent_id: str = ""
    charge_id: str = ""
    paid_cents: int = 0
    refunded_cents: int = 0  # in all refunds together
    disputed_cents: int = 0  # withdrawn by the bank: lost, or not decided yet
    currency: str = ""
    receipt_url: str = ""
    failure: str = ""  # for people
    metadata: dict[str, str] = field(default_factory=dict)
    created_at: datetime | None = None  # none: there is no payment yet


@dataclass(frozen=True)
class Session:
    """A visit to Stripe's payment page."""

    id: str
    mode: str  # payment, subscription, setup
    status: str  # open, complete, expired
    url: str  # empty once it is over
    expires_at: datetime
    reference: str  # our Purchase's or Subscription's id
    metadata: dict[str, str]
    subscription_id: str
    subtotal_cents: int  # before tax and coupons
    created_at: datetime
    payment: Payment


@dataclass(frozen=True)
class Line:
    """One line of an invoice."""

    price_id: str
    amount_cents: int  # before tax and coupons; negative for time that is given back


@dataclass(frozen=True)
class Invoice:
    """A bill of a subscription."""

    id: str
    status: str  # draft, open, paid, uncollectible, void
    subscription_id: str  # empty: not of a subscription
    reference: str  # our Subscription's id
    lines: tuple[Line, ...]
    subtotal_cents: int  # before tax and coupons
    hosted_url: str
    payment: Payment


@dataclass(frozen=True)
class StripeSubscription:
    """A subscription as Stripe sees it."""

    id: str
    status: str
    reference: str  # our Subscription's id
    price_id: str
    current_period_end: datetime | None
    cancels_at_period_end: bool


@dataclass(frozen=True)
class Card:
    """A card that a customer has saved."""

    id: str  # pm_…
    label: str  # "Visa ending in 4242"


@dataclass(frozen=True)
class Event:
    """A message of which we know that Stripe sent it; what it says may be old by now."""

    id: str
    type: str
    happened_at: datetime
    object: dict[str, Any]

    @property
    def object_id(self) -> str:
        return str(self.object.get("id") or "")[:100]


@dataclass(frozen=True)
class Item:
    """What a customer is asked to pay: a price that Stripe knows, or one that is described here."""

    name: str
    price_cents: int
    currency: str
    price_id: str = ""
    is_monthly: bool = False

    def as_line(self) -> dict[str, Any]:
        if self.price_id:
            return {"price": self.price_id, "quantity": 1}
        price = {"currency": self.currency, "unit_amount": self.price_cents, "product_data": {"name": self.name}}
        return {"price_data": price | ({"recurring": {"interval": "month"}} if self.is_monthly else {}), "quantity": 1}


def is_on() -> bool:
    """Tell whether this site takes cards."""
    return bool(settings.STRIPE_SECRET_KEY)


def client() -> StripeClient:
    return connected(settings.STRIPE_SECRET_KEY, settings.STRIPE_API_BASE)


@cache
def connected(key: str, api_base: str) -> StripeClient:
    """Return this process's client; its API version is the one that the library was made for."""
    if not key:
        raise GatewayRefused("Card payments are off: STRIPE_SECRET_KEY is not set.")
    return StripeClient(
        key,
        base_addresses={"api": api_base} if api_base else None,
        http_client=RequestsClient(timeout=TIMEOUT_SECONDS),
        max_network_retries=RETRIES,
    )


@contextmanager
def translated() -> Iterator[None]:
    """Raise our own exceptions for the library's."""
    try:
        yield
    except stripe.CardError as error:
        if error.code == "authentication_required":
            raise AuthenticationRequired("Your bank asks you to confirm the payment yourself.") from error
        raise CardDeclined(error.user_message or "Your card was declined.") from error
    except (stripe.APIConnectionError, stripe.RateLimitError) as error:
        raise GatewayUnavailable(str(error)) from error
    except stripe.InvalidRequestError as error:
        if error.http_status == 404 or error.code == "resource_missing":
            raise NoSuchObject(str(error), error.param or "") from error
        raise GatewayRefused(str(error)) from error
    except stripe.StripeError as error:
        if (error.http_status or 500) >= 500 or error.http_status == 409:
            raise GatewayUnavailable(str(error)) from error
        raise GatewayRefused(str(error)) from error


# Asking for money


def create_customer(reference: str, email: str) -> str:
    """Return the id of the customer made for `reference`, the same one however often it is asked."""
    with translated():
        customer = client().v1.customers.create(
            params={"email": email, "metadata": {"customer": reference}},
            options={"idempotency_key": f"customer-{reference}"},
        )
    return customer.id


def create_monthly_price(name: str, cents: int, currency: str) -> str:
    """Return the id of a price for a plan, the same one however often it is asked."""
    price = {"unit_amount": cents, "currency": currency, "recurring": {"interval": "month"}}
    with translated():
        created = client().v1.prices.create(
            params=price | {"product_data": {"name": name}},  # type: ignore[arg-type]
            options={"idempotency_key": f"price-{name}-{cents}-{currency}"},
        )
    return created.id


def open_payment(
    item: Item,
    *,
    reference: str,
    metadata: dict[str, str],
    customer_id: str,
    expires_at: datetime,
    success_url: str,
    cancel_url: str,
) -> Session:
    """Return the payment page made for `reference`, the same one however often it is asked."""
    metadata = metadata | {"purchase": reference}
    return open_session(
        f"checkout-{reference}",
        mode="payment",
        customer=customer_id,
        client_reference_id=reference,
        metadata=metadata,
        payment_intent_data={"metadata": metadata, "description": item.name},
        line_items=[item.as_line()],
        expires_at=int(expires_at.timestamp()),
        success_url=success_url,
        cancel_url=cancel_url,
        **by_settings(),
    )


def open_subscription(
    item: Item,
    *,
    reference: str,
    metadata: dict[str, str],
    customer_id: str,
    expires_at: datetime,
    success_url: str,
    cancel_url: str,
) -> Session:
    """Return the page that begins the subscription of `reference`, the same one however often it is asked."""
    metadata = metadata | {"subscription": reference}
    return open_session(
        f"subscription-{reference}",
        mode="subscription",
        customer=customer_id,
        client_reference_id=reference,
        metadata=metadata,
        subscription_data={"metadata": metadata},
        line_items=[item.as_line()],
        expires_at=int(expires_at.timestamp()),
        success_url=success_url,
        cancel_url=cancel_url,
        **by_settings(),
    )


def open_card_page(customer_id: str, currency: str, success_url: str, cancel_url: str) -> str:
    """Return the address of a page where the customer saves a card for later."""
    return open_session(
        None,
        mode="setup",
        customer=customer_id,
        currency=currency,
        allowed_payment_method_types=["card"],
        success_url=success_url,
        cancel_url=cancel_url,
    ).url


def by_settings() -> dict[str, Any]:
    """Return what the operator decides about every sale: taxes and coupons."""
    options: dict[str, Any] = {}
    if settings.STRIPE_TAX:
        options |= {
            "automatic_tax": {"enabled": True},
            "customer_update": {"address": "auto", "name": "auto"},
            "tax_id_collection": {"enabled": True},
        }
    if settings.STRIPE_PROMOTION_CODES:
        options |= {"allow_promotion_codes": True}
    return options


def open_session(idempotency_key: str | None, **params: Any) -> Session:
    with translated():
        session = client().v1.checkout.sessions.create(
            params=params,  # type: ignore[arg-type]
            options={"idempotency_key": idempotency_key} if idempotency_key else {},
        )
    return as_session(session.to_dict())


def expire_session(id: str) -> None:
    """Close a payment page, so that nobody can pay there any more.

    Raises:
        GatewayRefused: it is over already, perhaps because it was paid.
    """
    with translated():
        client().v1.checkout.sessions.expire(id)


def open_portal(customer_id: str, return_url: str) -> str:
    """Return the address of Stripe's page where the customer changes plan, card and address."""
    with translated():
        portal = client().v1.billing_portal.sessions.create(params={"customer": customer_id, "return_url": return_url})
    return portal.url


def charge_saved_card(
    item: Item, *, reference: str, metadata: dict[str, str], customer_id: str, payment_method_id: str
) -> Payment:
    """Charge a saved card while the customer is away; for one `reference` once, however often it is asked.

    Raises:
        AuthenticationRequired, CardDeclined: nothing was charged, and for this reference nothing will be.
        GatewayUnavailable: it is not known whether anything was charged; ask again.
    """
    with translated():
        intent = client().v1.payment_intents.create(
            params={
                "amount": item.price_cents,
                "currency": item.currency,
                "customer": customer_id,
                "payment_method": payment_method_id,
                "allowed_payment_method_types": ["card"],
                "confirm": True,
                "off_session": True,
                "description": item.name,
                "metadata": metadata | {"purchase": reference},
            },
            options={"idempotency_key": f"top-up-{reference}"},
        )
    payment = read_payment(intent.id)
    if intent.status == "requires_action":
        raise AuthenticationRequired("Your bank asks you to confirm the payment yourself.")
    return payment


# Reading what is


def read_session(id: str) -> Session:
    with translated():
        session = client().v1.checkout.sessions.retrieve(id).to_dict()
    found = as_session(session)
    if session.get("payment_intent"):
        payment = read_payment(reference_of(session["payment_intent"]))
        # While the page is open a declined card is no failure: the customer can take another.
        over = found.status == "complete" and payment.status == "failed"
        status: State = "failed" if over else found.payment.status
        found = replace(found, payment=replace(payment, status=payment.status if payment.status == "paid" else status))
    return found


def read_payment(payment_intent_id: str) -> Payment:
    with translated():
        intent = client().v1.payment_intents.retrieve(payment_intent_id).to_dict()
        charge: dict[str, Any] = {}
        if intent.get("latest_charge"):
            charge = client().v1.charges.retrieve(reference_of(intent["latest_charge"])).to_dict()
    status: State = "pending"
    if intent["status"] == "succeeded":
        status = "paid"
    elif intent["status"] == "canceled" or (intent["status"] == "requires_payment_method" and charge):
        status = "failed"
    metadata = dict(intent.get("metadata") or {})
    return Payment(
        status=status,
        reference=metadata.get("purchase", ""),
        metadata=metadata,
        created_at=datetime.fromtimestamp(intent["created"], UTC),
        payment_intent_id=intent["id"],
        charge_id=charge.get("id", ""),
        paid_cents=charge.get("amount_captured") or 0,
        refunded_cents=charge.get("amount_refunded") or 0,
        disputed_cents=disputed_cents(charge["id"]) if charge.get("disputed") else 0,
        currency=intent["currency"],
        receipt_url=charge.get("receipt_url") or "",
        failure=((intent.get("last_payment_error") or {}).get("message") or "")[:200],
    )


def payment_of_charge(charge_id: str) -> str:
    """Return the id of the payment that a charge belongs to, or nothing."""
    with translated():
        return reference_of(client().v1.charges.retrieve(charge_id).to_dict().get("payment_intent"))


def disputed_cents(charge_id: str) -> int:
    """Return how much of a charge its bank has taken back."""
    with translated():
        disputes = client().v1.disputes.list(params={"charge": charge_id, "limit": 100}).data
    return sum(dispute.amount for dispute in disputes if dispute.status not in HARMLESS_DISPUTES)


def read_invoice(id: str) -> Invoice:
    with translated():
        invoice = client().v1.invoices.retrieve(id).to_dict()
        lines = invoice["lines"]["data"]
        if invoice["lines"].get("has_more"):
            lines = [
                line.to_dict()
                for line in client().v1.invoices.line_items.list(id, params={"limit": 100}).auto_paging_iter()
            ]
        payments = client().v1.invoice_payments.list(params={"invoice": id, "limit": 100}).data
    intents = [paid.payment.payment_intent for paid in payments if paid.payment.type == "payment_intent"]
    details = (invoice.get("parent") or {}).get("subscription_details") or {}
    is_paid = invoice["status"] == "paid"
    payment = read_payment(reference_of(intents[-1])) if intents else Payment("pending")
    return Invoice(
        id=invoice["id"],
        status=invoice["status"] or "",
        subscription_id=reference_of(details.get("subscription")),
        reference=(details.get("metadata") or {}).get("subscription", ""),
        lines=tuple(as_line(line) for line in lines),
        subtotal_cents=invoice["subtotal"],
        hosted_url=invoice.get("hosted_invoice_url") or "",
        payment=replace(
            payment,
            status="paid" if is_paid else "pending",
            paid_cents=invoice["amount_paid"],
            currency=invoice["currency"],
        ),
    )


def invoice_of_payment(payment_intent_id: str) -> str:
    """Return the id of the invoice that a payment pays, or nothing."""
    with translated():
        payments = client().v1.invoice_payments.list(
            params={"payment": {"type": "payment_intent", "payment_intent": payment_intent_id}, "limit": 1}
        )
    return reference_of(payments.data[0].invoice) if payments.data else ""


def find_payment(reference: str, customer_id: str, since: datetime) -> Payment | None:
    """Return the payment that was asked for with our purchase's id, if Stripe ever heard of it."""
    with translated():
        page = client().v1.payment_intents.list(
            params={"customer": customer_id, "created": {"gte": int(since.timestamp())}, "limit": 100}
        )
        for intent in page.auto_paging_iter():
            if (intent.to_dict().get("metadata") or {}).get("purchase") == reference:
                return read_payment(intent.id)
    return None


def read_subscription(id: str) -> StripeSubscription:
    with translated():
        subscription = client().v1.subscriptions.retrieve(id).to_dict()
    return as_subscription(subscription)


def end_subscription(id: str) -> None:
    """End a subscription now: nothing is charged any more, and nothing is paid back. Repeating it is safe."""
    with translated():
        if client().v1.subscriptions.retrieve(id).status not in ("canceled", "incomplete_expired"):
            client().v1.subscriptions.cancel(id)


def cards(customer_id: str) -> list[Card]:
    """Return the cards that the customer has saved."""
    with translated():
        methods = client().v1.customers.payment_methods.list(customer_id, params={"type": "card", "limit": 20})
    return [
        Card(method.id, f"{method.card.brand.title()} ending in {method.card.last4}")
        for method in methods.data
        if method.card
    ]


def recent(kind: Literal["sessions", "payments", "invoices", "refunds", "disputes"], since: datetime) -> Iterator[str]:
    """Yield what was made since then, newest first: ids of sessions and invoices, else those of the payments."""
    v1 = client().v1
    lists: dict[str, Any] = {
        "sessions": v1.checkout.sessions,
        "payments": v1.payment_intents,
        "invoices": v1.invoices,
        "refunds": v1.refunds,
        "disputes": v1.disputes,
    }
    with translated():
        page = lists[kind].list(params={"created": {"gte": int(since.timestamp())}, "limit": 100})
        for found in page.auto_paging_iter():
            payment = found.payment_intent if kind in ("refunds", "disputes") else found.id
            if payment:
                yield reference_of(payment)


# What Stripe tells us


def read_event(body: bytes, signature: str) -> Event:
    """Return the event in a message to the webhook; while a secret is being replaced, two are live.

    Raises:
        BadEvent: nothing in it can be trusted.
    """
    verify(body, signature)
    try:
        event = json.loads(body)
        happened_at = datetime.fromtimestamp(event["created"], UTC)
        found = Event(str(event["id"]), str(event["type"])[:100], happened_at, dict(event["data"]["object"]))
    except (ValueError, TypeError, KeyError, OverflowError, OSError, RecursionError) as error:
        raise BadEvent("The body is not an event.") from error
    if not EVENT_ID.fullmatch(found.id) or not (found.type + found.object_id).isprintable():
        raise BadEvent("The body is not an event.")
    if event.get("account"):
        raise BadEvent("The event is of a connected account, and this site has none.")
    if bool(event.get("livemode")) != is_live():
        raise BadEvent("The event is of the other mode: test and live are different accounts.")
    return found


def verify(body: bytes, signature: str) -> None:
    reasons = []
    for secret in settings.STRIPE_WEBHOOK_SECRETS:
        try:
            stripe.WebhookSignature.verify_header(body, signature, secret, EVENT_AGE_SECONDS)
        except UnicodeDecodeError as error:
            raise BadEvent("The body is not UTF-8.") from error
        except stripe.SignatureVerificationError as error:
            reasons.append(str(error))
        else:
            return
    raise BadEvent(reasons[0] if reasons else "STRIPE_WEBHOOK_SECRETS is not set.")


def is_live() -> bool:
    """Tell whether real money moves."""
    return "_live_" in settings.STRIPE_SECRET_KEY


# From Stripe's objects to ours


def reference_of(value: Any) -> str:
    """Return the id of what may be an id, an object or nothing."""
    if isinstance(value, str) or value is None:
        return value or ""
    return str(value["id"])


def as_session(session: dict[str, Any]) -> Session:
    paid = session["payment_status"] in ("paid", "no_payment_required") and session["status"] == "complete"
    status: State = "expired" if session["status"] == "expired" else "paid" if paid else "pending"
    metadata = session.get("metadata") or {}
    return Session(
        id=session["id"],
        mode=session["mode"],
        status=session["status"],
        url=session.get("url") or "",
        expires_at=datetime.fromtimestamp(session["expires_at"], UTC),
        reference=metadata.get("purchase") or metadata.get("subscription") or "",
        metadata=dict(metadata),
        subscription_id=reference_of(session.get("subscription")),
        subtotal_cents=session.get("amount_subtotal") or 0,
        created_at=datetime.fromtimestamp(session["created"], UTC),
        payment=Payment(status, reference=metadata.get("purchase", ""), currency=session.get("currency") or ""),
    )


def as_line(line: dict[str, Any]) -> Line:
    details = (line.get("pricing") or {}).get("price_details") or {}
    return Line(price_id=reference_of(details.get("price")), amount_cents=line["amount"])


def as_subscription(subscription: dict[str, Any]) -> StripeSubscription:
    items = subscription["items"]["data"]
    ends = [item["current_period_end"] for item in items if item.get("current_period_end")]
    return StripeSubscription(
        id=subscription["id"],
        status=subscription["status"],
        reference=(subscription.get("metadata") or {}).get("subscription", ""),
        price_id=items[0]["price"]["id"] if items else "",
        current_period_end=datetime.fromtimestamp(max(ends), UTC) if ends else None,
        cancels_at_period_end=bool(subscription.get("cancel_at_period_end") or subscription.get("cancel_at")),
    )
