"""Plans: begun on Stripe's page, changed and ended in its portal; the only module that writes Subscription.

Also the only one of billing that moves an account from plan to plan. A plan that is not for sale was given by staff and
stays whatever happens here.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from math import floor
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.utils import timezone

from accounts.models import User
from billing import customers, gateway, notices, purchases, truth
from billing.gateway import Invoice, Line, Session, StripeSubscription
from billing.models import Offer, Purchase, Subscription
from billing.sale import PAGE_LIFE, TRIES, UNUSED_LIFE, NotForSale
from billing.truth import Change, Stale
from config.sites import site_url

logger = logging.getLogger(__name__)


class SubscribedAlready(Exception):
    """The account has a subscription; it is changed in Stripe's portal."""


def free_offer() -> Offer | None:
    """Return what accounts are on that don't pay."""
    return Offer.objects.filter(price_cents=0).select_related("plan").first()


def current(user: User) -> Subscription | None:
    """Return the subscription that the account has now, if any: the dearest that is paid, else one that is owed."""
    live = Subscription.objects.filter(user=user, status__in=Subscription.LIVE).select_related("offer__plan")
    found = live.order_by("-offer__price_cents", "-created_at")
    return next((s for s in found if s.status in Subscription.PAYING), None) or found.first()


# Beginning


def subscribe(user: User, offer: Offer, base_url: str) -> Subscription:
    """Return the account's way into the plan, with a payment page, begun now if there is none.

    There is one page at a time. Asks Stripe, so outside transactions.

    Raises:
        NotForSale, SubscribedAlready, Busy, GatewayUnavailable, GatewayRefused
    """
    if not (offer.is_active and offer.price_cents and free_offer()):
        raise NotForSale
    for _ in range(TRIES):
        if current(user):
            raise SubscribedAlready
        subscription = start(user, offer)
        if current(user):  # asked again: what another page had begun may be paid since
            give_up(subscription)
            raise SubscribedAlready
        if subscription.offer_id != offer.pk or is_unused(subscription):
            give_up(subscription)
        elif subscription.session_id:
            read_again(subscription)
        else:
            open_page(subscription, base_url)
        if subscription.status == Subscription.Status.STARTING and subscription.offer_id == offer.pk:
            return subscription
    raise truth.Busy


def start(user: User, offer: Offer) -> Subscription:
    """Return what the account has begun and not finished, begun now if there is nothing."""
    begun = Subscription.objects.filter(user=user, status=Subscription.Status.STARTING).select_related("offer", "user")
    found = begun.first()
    if found is None:
        try:
            with transaction.atomic():
                return Subscription.objects.create(user=user, offer=offer)
        except IntegrityError as error:  # another click was first
            found = begun.first()
            if found is None:
                raise truth.Busy from error  # and what it began is over already
    return found


def is_unused(subscription: Subscription) -> bool:
    return not subscription.session_id and subscription.created_at < timezone.now() - UNUSED_LIFE


def open_page(subscription: Subscription, base_url: str) -> None:
    """Give a beginning its payment page; repeating it gives the same one."""
    offer = subscription.offer
    customer_id = customers.stripe_id(subscription.user)
    try:
        session = gateway.open_subscription(
            gateway.Item(
                f"{offer.plan} plan", offer.price_cents, offer.currency, price_id=offer.stripe_price_id, is_monthly=True
            ),
            reference=str(subscription.pk),
            metadata={"site": site_url(), "account": str(subscription.user_id), "offer": str(offer.pk)},
            customer_id=customer_id,
            expires_at=subscription.created_at + PAGE_LIFE,
            success_url=f"{base_url}/billing/plan/{subscription.pk}/",
            cancel_url=f"{base_url}/billing/plan/",
        )
    except gateway.GatewayRefused as refusal:
        abandon(subscription)  # the next click begins anew
        if isinstance(refusal, gateway.NoSuchObject) and refusal.param == "customer":
            customers.forget(subscription.user, customer_id)
        raise
    Subscription.objects.filter(pk=subscription.pk, session_id="").update(
        session_id=session.id, session_url=session.url, session_expires_at=session.expires_at
    )
    subscription.refresh_from_db()


def give_up(subscription: Subscription) -> None:
    """End a beginning, and its payment page, unless it turns out to be paid."""
    if subscription.session_id:
        try:
            gateway.expire_session(subscription.session_id)
        except gateway.GatewayRefused:  # it is over already; how, the next line finds out
            logger.info("The payment page of %s was over.", subscription.pk)
        read_again(subscription)
    else:
        abandon(subscription)


def end_all(user: User) -> None:
    """End everything that the account is subscribed to, or is about to; repeating it is safe. Asks Stripe."""
    for subscription in Subscription.objects.filter(user=user).select_related("offer__plan", "user"):
        if subscription.status == Subscription.Status.STARTING:
            give_up(subscription)
        if subscription.status in Subscription.LIVE:
            gateway.end_subscription(subscription.stripe_id)
            read_again(subscription)


def abandon(subscription: Subscription) -> None:
    mine = Subscription.objects.filter(pk=subscription.pk, status=Subscription.Status.STARTING)
    mine.filter(revision=subscription.revision).update(status=Subscription.Status.ABANDONED, revision=F("revision") + 1)
    subscription.refresh_from_db()


def read_again(subscription: Subscription) -> list[str]:
    """Ask Stripe about a subscription, and write down what it says."""
    if subscription.stripe_id:
        changed = truth.settle(partial(read, subscription.stripe_id))
    else:
        changed = truth.settle(partial(read_session, subscription.session_id))
    subscription.refresh_from_db()
    return changed or []


# What Stripe says


def read_session(session_id: str) -> Change | None:
    return change_of_session(gateway.read_session(session_id))


def change_of_session(session: Session) -> Change | None:
    """Return what a visit to the payment page means for the subscription that it was to begin."""
    if session.subscription_id:
        return read(session.subscription_id)
    seen = find("", session.reference)
    if seen is None or session.status != "expired" or seen.status != Subscription.Status.STARTING:
        return None if seen is None else list
    return partial(apply_abandoned, seen)


def apply_abandoned(seen: Subscription) -> list[str]:
    mine = Subscription.objects.filter(pk=seen.pk, revision=seen.revision)
    if not mine.update(status=Subscription.Status.ABANDONED, revision=F("revision") + 1):
        raise Stale
    return [f"{seen.status} → abandoned"]


def read(stripe_id: str) -> Change | None:
    """Read a subscription from Stripe and return what to do about ours."""
    seen, found = look(stripe_id)
    return partial(apply, seen, found) if seen else None


def look(stripe_id: str, reference: str = "") -> tuple[Subscription | None, StripeSubscription]:
    """Return our row, and what Stripe says; what Stripe says is not older than our row."""
    seen = find(stripe_id, reference)
    found = gateway.read_subscription(stripe_id)
    if seen is None and (seen := find(stripe_id, found.reference)):
        found = gateway.read_subscription(stripe_id)
    return seen, found


def find(stripe_id: str, reference: str = "") -> Subscription | None:
    """Return the subscription with Stripe's id, or with ours as Stripe was told."""
    known = Subscription.objects.select_related("offer__plan", "user")
    found = known.filter(stripe_id=stripe_id).first() if stripe_id else None
    if found is None:
        try:
            found = known.filter(pk=UUID(reference)).first()
        except ValueError:
            return None
    return found


def apply(seen: Subscription, found: StripeSubscription) -> list[str]:
    """Write down what Stripe says about a subscription, with the account's plan; joins the caller's transaction.

    Raises:
        Stale: the row has changed since it was `seen`; the caller's transaction must be rolled back.
    """
    changes = write(seen, found)
    if changes:
        take_effect(seen, found)
    return changes


def write(seen: Subscription, found: StripeSubscription) -> list[str]:
    if seen.stripe_id and seen.stripe_id != found.id:
        logger.error("%s was begun twice, as %s too.", seen.pk, found.id)
        return [f"begun a second time as {found.id}: cancel that one at Stripe"]
    offer = Offer.objects.filter(stripe_price_id=found.price_id).first() if found.price_id else None
    after = {
        "stripe_id": found.id,
        "status": found.status,
        "offer_id": (offer or seen.offer).pk,
        "current_period_end": found.current_period_end,
        "cancels_at_period_end": found.cancels_at_period_end,
    }
    before = {name: getattr(seen, name) for name in after}
    changes = [f"{name} {before[name] or '–'} → {value}" for name, value in after.items() if before[name] != value]
    if not changes:
        return []
    if not Subscription.objects.filter(pk=seen.pk, revision=seen.revision).update(**after, revision=F("revision") + 1):
        raise Stale
    return changes


def take_effect(seen: Subscription, found: StripeSubscription) -> None:
    move_to_plan(seen.user_id)
    if found.status in Subscription.OWING and seen.status not in Subscription.OWING:
        notices.write(seen.user, "past_due", plan=str(seen.offer), free_plan=free_plan_name())


def move_to_plan(user_id: int) -> None:
    """Put the account on the plan that it pays for, or on the free one; joins the caller's transaction."""
    user = User.objects.select_for_update(no_key=True, of=("self",)).get(pk=user_id)
    paid = current(user)
    free = free_offer()
    if paid and paid.status in Subscription.PAYING:
        plan_id = paid.offer.plan_id
    elif free:
        plan_id = free.plan_id
    else:
        logger.error("There is no free plan, so account %s keeps the one it does not pay for.", user_id)
        return
    sold = Offer.objects.values("plan")
    User.objects.filter(Q(plan=None) | Q(plan__in=sold), pk=user_id).update(plan=plan_id)


def welcome(user: User) -> None:
    """Put a new account without a plan on the free one, if there is one."""
    free = free_offer()
    if free and user.plan_id is None:
        user.plan = free.plan
        User.objects.filter(pk=user.pk).update(plan=free.plan)


def free_plan_name() -> str:
    offer = free_offer()
    return str(offer) if offer else ""


# Months


def read_invoice(invoice_id: str) -> Change | None:
    """Read an invoice and its subscription, and return what to do: the plan, and the credits once it is paid."""
    month = Purchase.objects.filter(invoice_id=invoice_id).first()
    invoice = gateway.read_invoice(invoice_id)
    if not invoice.subscription_id:
        return None
    seen, found = look(invoice.subscription_id, invoice.reference)
    return partial(apply_invoice, seen, found, month, invoice) if seen else None


def apply_invoice(seen: Subscription, found: StripeSubscription, month: Purchase | None, invoice: Invoice) -> list[str]:
    changes = write(seen, found)
    credited: list[str] = []
    if invoice.status == "paid" or month:
        month = month or write_month(Subscription.objects.select_related("offer").get(pk=seen.pk), invoice)
        payment = replace(invoice.payment, receipt_url=invoice.hosted_url or invoice.payment.receipt_url)
        credited = purchases.apply(month, payment)
    if changes:
        take_effect(seen, found)  # last: who ends a generation locks the wallet before the account, too
    return changes + credited


def write_month(subscription: Subscription, invoice: Invoice) -> Purchase:
    """Write the purchase down that a paid invoice is.

    Raises:
        Stale: it was written meanwhile.
    """
    if Purchase.objects.filter(invoice_id=invoice.id).exists():
        raise Stale
    try:
        with transaction.atomic():
            return Purchase.objects.create(
                user_id=subscription.user_id,
                kind=Purchase.Kind.MONTH,
                subscription=subscription,
                invoice_id=invoice.id,
                credits=month_credits(subscription.offer, invoice.lines),
                price_cents=max(0, invoice.subtotal_cents),
                currency=invoice.payment.currency,
            )
    except IntegrityError as error:
        raise Stale from error


def month_credits(offer: Offer, lines: Sequence[Line]) -> int:
    """Return the credits that an invoice buys.

    Each line buys the part of its plan's monthly credits that it pays of the plan's price: a whole month all of them,
    the rest of a month after a change of plan a part, and time that is given back takes its part away.
    """
    offers = {o.stripe_price_id: o for o in Offer.objects.exclude(stripe_price_id="")}
    total = Fraction(0)
    for line in lines:
        plan = offers.get(line.price_id, offer)
        if plan.price_cents:
            total += Fraction(plan.monthly_credits * line.amount_cents, plan.price_cents)
    return max(0, floor(total))
