"""Compares Stripe's recent objects with our ledger, and repairs what is missing; safe to repeat."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from django.db import IntegrityError, transaction

from accounts.models import User
from billing import gateway, ledger, objects, purchases, subscriptions, truth
from billing.gateway import GatewayRefused, Session
from billing.models import Pack, Purchase, Subscription
from billing.sites import site_url

logger = logging.getLogger(__name__)

CLOCKS_DIFFER = timedelta(minutes=1)
READERS = {
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


def reconcile(since: datetime, repair: bool) -> Iterator[Finding]:
    """Yield what differs between Stripe's objects made since then and our rows; with `repair` it is put right.

    Each object is read and applied as its events would have been, so what was known already changes nothing.

    Raises:
        GatewayUnavailable: what was yielded is done, the rest is not.
    """
    seen = set()
    for session_id in gateway.recent("sessions", since):
        yield from check_session(session_id, repair)
    for kind, read in READERS.items():
        for id in gateway.recent(kind, since):  # type: ignore[arg-type] # the keys are the kinds
            if id not in seen:
                seen.add(id)
                yield from check(id, partial(read, id), repair)
    yield from check_our_own(repair)


def check(about: str, read: partial[truth.Change | None], repair: bool) -> Iterator[Finding]:
    try:
        changes = truth.settle(read, keep=repair)
    except (GatewayRefused, truth.Busy) as error:
        yield Finding(about, f"could not be read: {error}", False)
        return
    if changes:
        yield Finding(about, ", ".join(changes), repair)


def check_session(session_id: str, repair: bool) -> Iterator[Finding]:
    session = gateway.read_session(session_id)
    if is_lost(session):
        written = repair and write_again(session)
        yield Finding(session_id, f"purchase {session.reference} is not in our database", bool(written))
        if not written:
            return
    yield from check(session_id, partial(objects.read_session, session_id), repair)


def is_lost(session: Session) -> bool:
    """Tell whether a paid page belongs to a purchase of this very site that it has no row of, as after a restore."""
    return (
        session.mode == "payment"
        and session.payment.status == "paid"
        and session.metadata.get("site") == site_url()
        and is_uuid(session.reference)
        and purchases.find(session.reference) is None
    )


def write_again(session: Session) -> bool:
    """Write the row of a lost purchase from what Stripe keeps for us, if its account and pack are still the same."""
    account, pack, credits = (session.metadata.get(name, "") for name in ("account", "pack", "credits"))
    if not (account.isdecimal() and pack.isdecimal() and credits.isdecimal()):
        return False
    # An account that joined later only happens to have the number.
    user = User.objects.filter(pk=int(account), joined_at__lte=session.created_at + CLOCKS_DIFFER).first()
    sold = Pack.objects.filter(pk=int(pack)).first()
    if user is None or sold is None:
        return False
    try:
        with transaction.atomic():
            Purchase.objects.create(
                id=UUID(session.reference),
                user=user,
                pack=sold,
                kind=Purchase.Kind.CHECKOUT,
                credits=int(credits),
                price_cents=session.subtotal_cents,
                currency=session.payment.currency,
                created_at=session.created_at,
                status=Purchase.Status.EXPIRED,  # until the page is read: a cart may be open for the same pack
            )
    except IntegrityError:
        return False
    return True


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


def is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def differences() -> Iterator[str]:
    """Yield a sentence for every purchase that its entries in the ledger don't explain."""
    moved = ledger.moved_by_purchases()
    for purchase in Purchase.objects.filter(status=Purchase.Status.PAID).iterator():
        expected = purchase.credits - purchase.taken_credits
        if (found := moved.pop(str(purchase.pk), 0)) != expected:
            yield f"Purchase {purchase.pk}: {expected} credits are due, but its entries say {found}."
    for pk, found in moved.items():
        yield f"Purchase {pk}: it is not paid, but its entries say {found}."
