"""Compares Stripe's recent objects with our ledger, and repairs what is missing; safe to repeat."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeAlias
from uuid import UUID

from django.db import IntegrityError, transaction

from accounts.models import User
from billing import gateway, ledger, objects, purchases, subscriptions, truth
from billing.gateway import GatewayRefused
from billing.models import Pack, Purchase, Subscription
from config.sites import site_url

logger = logging.getLogger(__name__)

CLOCKS_DIFFER = timedelta(minutes=1)
Read: TypeAlias = Callable[[], truth.Change | None]
READERS = {
    "sessions": objects.read_session,
    "payments": objects.read_payment,
    "invoices": objects.read_invoice,
    "refunds": objects.read_payment,
    "disputes": objects.read_payment,
}


@dataclass(frozen=True)
class Finding:
    """One thing that Stripe has and we have not, or have differently."""

    about: str  # the object at Stripe
    words: str
    is_repaired: bool


@dataclass(frozen=True)
class Lost:
    """Something that this very site began, that was paid, and that has no row here."""

    what: str  # "purchase" or "subscription"
    kind: Purchase.Kind
    reference: str
    metadata: dict[str, str]
    price_cents: int
    currency: str
    begun_at: datetime


FindLost: TypeAlias = Callable[[str], Lost | None]


def reconcile(since: datetime, repair: bool) -> Iterator[Finding]:
    """Yield what differs between Stripe's objects made since then and our rows; with `repair` it is put right.

    Each object is read and applied as its events would have been, so what was known already changes nothing.

    Raises:
        GatewayUnavailable: what was yielded is done, the rest is not.
    """
    seen = set()
    for kind, read in READERS.items():
        for id in gateway.recent(kind, since):  # type: ignore[arg-type] # the keys are the kinds
            if id not in seen:
                seen.add(id)
                yield from check(id, partial(read, id), repair, LOST.get(kind))
    yield from check_our_own(repair)


def check(about: str, read: Read, repair: bool, find_lost: FindLost | None = None) -> Iterator[Finding]:
    try:
        changes = truth.settle(read, keep=repair)
        if changes is None and find_lost and (lost := find_lost(about)):
            written = repair and write_again(lost)
            yield Finding(about, f"{lost.what} {lost.reference} is not in our database", written)
            changes = truth.settle(read) if written else None
    except (GatewayRefused, truth.Busy) as error:
        yield Finding(about, f"could not be read: {error}", False)
        return
    if changes:
        yield Finding(about, ", ".join(changes), repair)


# What was begun here and has no row any more, as after a backup was restored


def lost_session(session_id: str) -> Lost | None:
    session = gateway.read_session(session_id)
    if session.status != "complete" or not is_ours_and_lost(session.metadata, session.reference):
        return None
    return Lost(
        what="purchase" if session.mode == "payment" else "subscription",
        kind=Purchase.Kind.CHECKOUT,
        reference=session.reference,
        metadata=session.metadata,
        price_cents=session.subtotal_cents,
        currency=session.payment.currency,
        begun_at=session.created_at,
    )


def lost_top_up(payment_intent_id: str) -> Lost | None:
    payment = gateway.read_payment(payment_intent_id)
    if payment.status != "paid" or not payment.created_at or not is_ours_and_lost(payment.metadata, payment.reference):
        return None
    return Lost(
        what="purchase",
        kind=Purchase.Kind.TOP_UP,
        reference=payment.reference,
        metadata=payment.metadata,
        price_cents=payment.paid_cents,
        currency=payment.currency,
        begun_at=payment.created_at,
    )


def is_ours_and_lost(metadata: dict[str, str], reference: str) -> bool:
    if metadata.get("site") != site_url():
        return False
    try:
        UUID(reference)
    except ValueError:
        return False
    return purchases.find(reference) is None and subscriptions.find("", reference) is None


def write_again(lost: Lost) -> bool:
    """Write the row of a lost purchase from what Stripe keeps for us, if its account and pack are still the same."""
    account, pack, credits = (lost.metadata.get(name, "") for name in ("account", "pack", "credits"))
    if not (account.isdecimal() and pack.isdecimal() and credits.isdecimal()):
        return False
    # An account that joined later only happens to have the number.
    user = User.objects.filter(pk=int(account), joined_at__lte=lost.begun_at + CLOCKS_DIFFER).first()
    sold = Pack.objects.filter(pk=int(pack)).first()
    if user is None or sold is None:
        return False
    try:
        with transaction.atomic():
            Purchase.objects.create(
                id=UUID(lost.reference),
                user=user,
                pack=sold,
                kind=lost.kind,
                credits=int(credits),
                price_cents=lost.price_cents,
                currency=lost.currency,
                created_at=lost.begun_at,
                status=Purchase.Status.EXPIRED,  # until it is read: a cart may be open for the same pack
            )
    except IntegrityError:
        return False
    return True


LOST: dict[str, FindLost] = {"sessions": lost_session, "payments": lost_top_up}


def check_our_own(repair: bool) -> Iterator[Finding]:
    """Look at what is unfinished here: an event of its end may have been lost."""
    unfinished = Purchase.objects.filter(status=Purchase.Status.PENDING)
    for purchase in unfinished.exclude(session_id="", payment_intent_id=""):
        read = objects.read_session if purchase.session_id else objects.read_payment
        yield from check(f"purchase {purchase.pk}", partial(read, purchases.key_of(purchase)[0]), repair)
    for subscription in Subscription.objects.filter(status__in=Subscription.LIVE):
        yield from check(f"subscription {subscription.pk}", partial(subscriptions.read, subscription.stripe_id), repair)
    for subscription in Subscription.objects.filter(status=Subscription.Status.STARTING).exclude(session_id=""):
        yield from check(
            f"subscription {subscription.pk}", partial(subscriptions.read_session, subscription.session_id), repair
        )


def differences() -> Iterator[str]:
    """Yield a sentence for every purchase that its entries in the ledger don't explain."""
    moved = ledger.moved_by_purchases()
    for purchase in Purchase.objects.filter(status=Purchase.Status.PAID).iterator():
        expected = purchase.credits - purchase.taken_credits
        if (found := moved.pop(str(purchase.pk), 0)) != expected:
            yield f"Purchase {purchase.pk}: {expected} credits are due, but its entries say {found}."
    for pk, found in moved.items():
        yield f"Purchase {pk}: it is not paid, but its entries say {found}."
