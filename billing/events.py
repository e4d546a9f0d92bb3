"""What Stripe tells the webhook; the only module that writes StripeEvent.

The event's row and everything that it leads to are one transaction: a crash before its end leaves nothing, and Stripe
sends the event again; a second delivery finds the row and does nothing. What the event says is not believed, only which
object it is about (see truth.py), so the order of events does not matter.
"""

import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import IntegrityError
from django.utils import timezone

from accounts.models import User
from billing import gateway, objects, truth
from billing.gateway import BadEvent, Event
from billing.models import Customer, Purchase, StripeEvent
from billing.truth import Change

Outcome = StripeEvent.Outcome
Reader = Callable[[dict[str, Any]], Change | None]

PAYLOADS = timedelta(days=30)  # as long as a fault may still be looked into
PEOPLE = re.compile(r"\b(?:cus|pi)_\w+", re.ASCII)  # ids that lead to an account; a dispute names its payment alone


def read_session(session: dict[str, Any]) -> Change | None:
    return objects.read_session(session["id"])


def read_invoice(invoice: dict[str, Any]) -> Change | None:
    return objects.read_invoice(invoice["id"])


def read_subscription(subscription: dict[str, Any]) -> Change | None:
    return objects.read_subscription(subscription["id"])


def read_payment(intent: dict[str, Any]) -> Change | None:
    return objects.read_payment(intent["id"])


def read_owner(money: dict[str, Any]) -> Change | None:
    """Read the payment that a charge, a refund or a dispute is about."""
    if payment_intent_id := gateway.reference_of(money.get("payment_intent")):
        return objects.read_payment(payment_intent_id)
    charge_id = money["id"] if money.get("object") == "charge" else gateway.reference_of(money.get("charge"))
    return objects.read_charge(charge_id) if charge_id else None


READERS: dict[str, Reader] = {
    "checkout.session.completed": read_session,
    "checkout.session.async_payment_succeeded": read_session,
    "checkout.session.async_payment_failed": read_session,
    "checkout.session.expired": read_session,
    "invoice.paid": read_invoice,
    "invoice.payment_failed": read_invoice,
    "customer.subscription.created": read_subscription,
    "customer.subscription.updated": read_subscription,
    "customer.subscription.deleted": read_subscription,
    "customer.subscription.paused": read_subscription,
    "customer.subscription.resumed": read_subscription,
    "customer.subscription.pending_update_applied": read_subscription,
    "customer.subscription.pending_update_expired": read_subscription,
    "customer.subscription.trial_will_end": read_subscription,
    "payment_intent.succeeded": read_payment,
    "payment_intent.payment_failed": read_payment,
    "payment_intent.canceled": read_payment,
    "charge.refunded": read_owner,
    "charge.dispute.created": read_owner,
    "charge.dispute.updated": read_owner,
    "charge.dispute.closed": read_owner,
    "charge.dispute.funds_withdrawn": read_owner,
    "charge.dispute.funds_reinstated": read_owner,
    "refund.updated": read_owner,
    "refund.failed": read_owner,
}


def receive(event: Event, body: bytes) -> str:
    """Take an event in, once, and return what became of it: an outcome, or "duplicate".

    Raises:
        BadEvent: it is about an object that this Stripe account does not have; nothing was written.
        Busy, GatewayUnavailable, GatewayRefused: nothing was written; Stripe is to send it again.
    """
    if is_known(event):
        return "duplicate"
    reader = READERS.get(event.type)
    if reader and not event.object_id:
        raise BadEvent("The event is about nothing.")
    try:
        done = truth.settle(partial(reader, event.object) if reader else nothing, partial(record, event, body))
    except gateway.NoSuchObject as error:
        raise BadEvent("The event is about an object that this Stripe account does not have.") from error
    except IntegrityError:
        if is_known(event):  # another delivery was first
            return "duplicate"
        raise
    return Outcome.UNKNOWN if not reader else Outcome.NOBODY if done is None else Outcome.APPLIED


def nothing() -> None:
    return None


def is_known(event: Event) -> bool:
    return StripeEvent.objects.filter(pk=event.id).exists()


def record(event: Event, body: bytes, is_ours: bool) -> None:
    """Keep the event, in the transaction of what it leads to."""
    known, text = event.type in READERS, body.decode()
    StripeEvent.objects.create(
        id=event.id,
        type=event.type,
        object_id=event.object_id,
        outcome=Outcome.APPLIED if is_ours else Outcome.NOBODY if known else Outcome.UNKNOWN,
        payload="" if is_of_closed(text) else text,
        happened_at=event.happened_at,
    )


def is_of_closed(text: str) -> bool:
    """Tell whether an event's text names somebody whose account is closed."""
    ids = set(PEOPLE.findall(text))
    customers = Customer.objects.filter(stripe_id__in=ids, user__closed_at__isnull=False)
    purchases = Purchase.objects.filter(payment_intent_id__in=ids, user__closed_at__isnull=False)
    return customers.exists() or purchases.exists()


def forget(user: User) -> None:
    """Blank what events say of an account's owner: name, address, e-mail."""
    blank(Customer.objects.filter(user=user).exclude(stripe_id="").values_list("stripe_id", flat=True))
    paid = Purchase.objects.filter(user=user).exclude(payment_intent_id="")
    blank(paid.values_list("payment_intent_id", flat=True))


def blank(ids: Iterable[str]) -> None:
    for id in ids:
        StripeEvent.objects.filter(payload__contains=f'"{id}"').update(payload="")


def forget_old() -> None:
    """Blank what events say when it is kept no longer."""
    old = StripeEvent.objects.filter(received_at__lt=timezone.now() - PAYLOADS)
    old.exclude(payload="").update(payload="")
