"""Buying credits, and what becomes of each payment; the only module that writes Purchase."""

import logging
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F
from django.dispatch import Signal
from django.utils import timezone

from accounts.models import User
from billing import customers, gateway, ledger, truth
from billing.gateway import Payment, Session
from billing.models import Offer, Pack, Purchase
from billing.sale import PAGE_LIFE, TRIES, UNUSED_LIFE, NotForSale
from billing.truth import Change, Stale
from config.sites import site_url

logger = logging.getLogger(__name__)

failed = Signal()  # no money was taken, for a reason that people can read; sent with both, in the transaction


def buy(user: User, pack: Pack, base_url: str) -> Purchase:
    """Return the account's open cart for the pack, with a payment page, begun now if there is none.

    However often and from how many windows this is called, there is one cart and one page, until it is paid or over.
    The purchase that comes back may just have turned out to be paid. Asks Stripe, so outside transactions.

    Raises:
        NotForSale, Busy, GatewayUnavailable, GatewayRefused
    """
    if not pack.is_active:
        raise NotForSale
    for _ in range(TRIES):
        purchase = cart(user, pack)
        if is_outdated(purchase, pack):
            give_up(purchase)
        elif purchase.session_id:
            read_again(purchase)
        else:
            open_page(purchase, base_url)
        if purchase.status in (Purchase.Status.PENDING, Purchase.Status.PAID):
            return purchase
    raise truth.Busy


def cart(user: User, pack: Pack) -> Purchase:
    """Return the account's open cart for the pack, begun now if there is none."""
    carts = Purchase.objects.filter(
        user=user, pack=pack, kind=Purchase.Kind.CHECKOUT, status=Purchase.Status.PENDING
    ).select_related("pack", "user")
    found = carts.first()
    if found is None:
        try:
            with transaction.atomic():
                return begin(user, pack, Purchase.Kind.CHECKOUT)
        except IntegrityError as error:  # another click was first
            found = carts.first()
            if found is None:
                raise truth.Busy from error  # and its cart is over already
    return found


def begin(user: User, pack: Pack, kind: Purchase.Kind, **fields: Any) -> Purchase:
    """Write a purchase down as the pack is for sale now; joins the caller's transaction."""
    return Purchase.objects.create(
        user=user,
        pack=pack,
        kind=kind,
        credits=pack.credits,
        price_cents=pack.price_cents,
        currency=pack.currency,
        **fields,
    )


def is_outdated(purchase: Purchase, pack: Pack) -> bool:
    bought, sold = (
        (purchase.credits, purchase.price_cents, purchase.currency),
        (
            pack.credits,
            pack.price_cents,
            pack.currency,
        ),
    )
    unused = not purchase.session_id and purchase.created_at < timezone.now() - UNUSED_LIFE
    return bought != sold or unused


def open_page(purchase: Purchase, base_url: str) -> None:
    """Give a cart its payment page; repeating it gives the same one."""
    customer_id = customers.stripe_id(purchase.user)
    try:
        session = gateway.open_payment(
            as_item(purchase),
            reference=str(purchase.pk),
            metadata=metadata(purchase),
            customer_id=customer_id,
            expires_at=purchase.created_at + PAGE_LIFE,
            success_url=f"{base_url}/billing/purchases/{purchase.pk}/",
            cancel_url=f"{base_url}/billing/purchases/{purchase.pk}/canceled/",
        )
    except gateway.GatewayRefused as refusal:
        # The next click begins anew: the same question would get the same answer.
        fail(purchase, "The payment page could not be opened.")
        if isinstance(refusal, gateway.NoSuchObject) and refusal.param == "customer":
            customers.forget(purchase.user, customer_id)
        raise
    Purchase.objects.filter(pk=purchase.pk, session_id="").update(
        session_id=session.id, session_url=session.url, session_expires_at=session.expires_at
    )
    purchase.refresh_from_db()


def as_item(purchase: Purchase) -> gateway.Item:
    return gateway.Item(f"{purchase.credits:,} credits", purchase.price_cents, purchase.currency)


def metadata(purchase: Purchase) -> dict[str, str]:
    """Return what Stripe keeps for us beside the purchase's id: enough to write the row again if it were lost."""
    return {
        "site": site_url(),
        "account": str(purchase.user_id),
        "pack": str(purchase.pack_id),
        "credits": str(purchase.credits),
    }


def give_up(purchase: Purchase) -> None:
    """End a cart, and its payment page, unless it turns out to be paid."""
    if purchase.session_id:
        try:
            gateway.expire_session(purchase.session_id)
        except gateway.GatewayRefused:  # it is over already; how, the next line finds out
            logger.info("The payment page of %s was over.", purchase.pk)
        read_again(purchase)
    else:
        close(purchase, Purchase.Status.EXPIRED)


@transaction.atomic
def fail(purchase: Purchase, reason: str) -> None:
    """End a purchase that was refused, unless it is over already."""
    if close(purchase, Purchase.Status.FAILED, reason[:200]):
        failed.send(sender=Purchase, purchase=purchase, reason=reason)


def close(purchase: Purchase, status: Purchase.Status, failure: str = "") -> bool:
    """End a purchase of which Stripe took no money; tell whether this call did. Money that comes later still counts."""
    mine = Purchase.objects.filter(pk=purchase.pk, status=Purchase.Status.PENDING, revision=purchase.revision)
    won = mine.update(status=status, failure=failure, revision=F("revision") + 1)
    purchase.refresh_from_db()
    return bool(won)


def read_again(purchase: Purchase) -> list[str]:
    """Ask Stripe about a purchase whose payment page or payment is known, and write down what it says."""
    changed = truth.settle(partial(reader(purchase), *key_of(purchase)))
    purchase.refresh_from_db()
    return changed or []


def reader(purchase: Purchase) -> Any:
    return read_session if purchase.session_id else read_payment


def key_of(purchase: Purchase) -> tuple[str]:
    return (purchase.session_id or purchase.payment_intent_id,)


# What Stripe says


def read_session(session_id: str) -> Change | None:
    """Read a payment page and return what to do about its purchase."""
    seen = Purchase.objects.filter(session_id=session_id).first()
    session = gateway.read_session(session_id)
    if seen is None and (seen := find(session.reference)):
        session = gateway.read_session(session_id)  # again: the first answer may be older than our row
    if seen is None:
        return None
    if seen.session_id and seen.session_id != session.id and session.payment.status != "paid":
        return list  # another page is the purchase's own; this one matters only if somebody paid there
    return partial(apply, seen, session.payment, session)


def read_payment(payment_intent_id: str) -> Change | None:
    """Read a payment that belongs to one of our purchases and return what to do."""
    seen = Purchase.objects.filter(payment_intent_id=payment_intent_id).first()
    payment = gateway.read_payment(payment_intent_id)
    if seen is None and (seen := find(payment.reference)):
        payment = gateway.read_payment(payment_intent_id)  # again: the first answer may be older than our row
    if seen is None:
        return None
    if seen.kind == Purchase.Kind.CHECKOUT and payment.status == "failed":
        payment = replace(payment, status="pending")  # the page decides: the customer can take another card
    return partial(apply, seen, payment)


def find(reference: str) -> Purchase | None:
    """Return the purchase whose id Stripe was told, if it is one of ours."""
    try:
        return Purchase.objects.filter(pk=UUID(reference)).first()
    except ValueError:
        return None


def apply(seen: Purchase, payment: Payment, session: Session | None = None) -> list[str]:
    """Write down what Stripe says about a purchase, with its credits; joins the caller's transaction.

    `seen` is the row as it was before Stripe was read.

    Raises:
        Stale: the row has changed since; the caller's transaction must be rolled back.
    """
    if is_second(seen, payment):
        logger.error("%s was paid twice, by %s too.", seen.pk, payment.payment_intent_id)
        return [f"paid a second time by {payment.payment_intent_id}: refund that payment at Stripe"]
    after = outcome(seen, payment)
    if session and seen.session_id in ("", session.id):
        after = {"session_id": session.id, "session_url": session.url} | after
    if all(getattr(seen, name) == value for name, value in after.items()):
        return []
    if not Purchase.objects.filter(pk=seen.pk, revision=seen.revision).update(**after, revision=F("revision") + 1):
        raise Stale
    changes = [f"{seen.status} → {after['status']}"] if after["status"] != seen.status else []
    if after["status"] == Purchase.Status.FAILED != seen.status:
        failed.send(sender=Purchase, purchase=seen, reason=payment.failure)
    if after["status"] == Purchase.Status.PAID != seen.status and seen.credits:
        give_credits(seen)
        changes.append(f"+{seen.credits:,} credits")
    if taken := after["taken_credits"] - seen.taken_credits:
        move_back(seen, taken)
        changes.append(f"{-taken:+,} credits")
    return changes or ["details"]


def is_second(seen: Purchase, payment: Payment) -> bool:
    """Tell whether the purchase is paid by another payment already."""
    ids = {seen.payment_intent_id, payment.payment_intent_id} - {""}
    return len(ids) == 2 and seen.status == Purchase.Status.PAID and payment.status == "paid"


def outcome(seen: Purchase, payment: Payment) -> dict[str, Any]:
    """Return the fields of the purchase as they are to be. What was paid stays paid; what was paid late is paid."""
    ended = seen.is_final and payment.status != "paid"
    status = seen.status if ended else Purchase.Status(payment.status)
    fields: dict[str, Any] = {"status": status, "taken_credits": seen.taken_credits}
    if status != Purchase.Status.PENDING:
        fields["session_url"] = ""  # nobody can pay there any more
    if payment.failure and status == Purchase.Status.FAILED:
        fields["failure"] = payment.failure
    if status == Purchase.Status.PAID:
        fields["paid_at"] = seen.paid_at or timezone.now()
        fields["failure"] = ""
    if payment.payment_intent_id:
        fields |= {
            "payment_intent_id": payment.payment_intent_id,
            "charge_id": payment.charge_id,
            "receipt_url": payment.receipt_url or seen.receipt_url,
        }
    if payment.status == "paid":
        fields |= {
            "paid_cents": payment.paid_cents,
            "refunded_cents": payment.refunded_cents,
            "disputed_cents": payment.disputed_cents,
            "taken_credits": credits_to_take_back(seen.credits, payment),
        }
    return fields


def credits_to_take_back(credits: int, payment: Payment) -> int:
    """Return how many of the credits were un-bought so far: their part of the money that went back, rounded down."""
    gone_cents = min(payment.paid_cents, payment.refunded_cents + payment.disputed_cents)
    return credits * gone_cents // payment.paid_cents if payment.paid_cents else 0


def give_credits(purchase: Purchase) -> None:
    if purchase.kind != Purchase.Kind.MONTH:
        ledger.grant(purchase.user_id, purchase.credits, purchase.cause, purchase.get_kind_display())
        return
    offer = Offer.objects.get(subscription=purchase.subscription_id)
    ledger.grant_month(
        purchase.user_id,
        purchase.credits,
        purchase.cause,
        f"Month of {offer}",
        # This month's, and as much again from before.
        most_monthly_credits=2 * max(purchase.credits, offer.monthly_credits),
    )


def move_back(purchase: Purchase, credits: int) -> None:
    """Take credits back, or return them (negative) when the money came again."""
    # Counted by revision, since the same number can be taken, returned and taken again.
    cause = f"{purchase.cause}/{purchase.revision + 1}"
    if credits > 0:
        is_month = purchase.kind == Purchase.Kind.MONTH
        ledger.take_back(purchase.user_id, credits, cause, "Refunded or disputed", monthly=is_month)
    else:
        ledger.grant(purchase.user_id, -credits, cause, "The payment stands after all")
