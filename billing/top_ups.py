"""Automatic top-ups: a saved card is charged when the balance falls under a line; the only module that writes TopUp."""

import logging
from datetime import timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.dispatch import receiver
from django.utils import timezone

from accounts.models import User
from billing import customers, gateway, ledger, notices, purchases, queue, truth
from billing.gateway import Card
from billing.models import Pack, Purchase, TopUp, Wallet

logger = logging.getLogger(__name__)

DAY = timedelta(hours=24)
PATIENCE = timedelta(minutes=2)  # a charge that runs longer was cut off, and is asked for again with the same key
KEY_LIFE = timedelta(hours=12)  # Stripe may forget an idempotency key after 24 hours: no charge is repeated after half


def is_offered() -> bool:
    """Tell whether cards can be charged automatically: not where tax is due, which only Stripe's page works out."""
    return gateway.is_on() and not settings.STRIPE_TAX


def turn_on(user: User, threshold_credits: int, pack: Pack, most_a_day: int, card: Card) -> None:
    """Charge `card` for `pack` from now on whenever fewer than `threshold_credits` can be spent."""
    choices = {
        "is_on": True,
        "threshold_credits": threshold_credits,
        "pack": pack,
        "most_a_day": most_a_day,
        "payment_method_id": card.id,
        "card": card.label,
        "off_reason": "",
    }
    TopUp.objects.update_or_create(user=user, defaults=choices)
    ring_if_wanted(user.pk)


def turn_off(user: User) -> None:
    TopUp.objects.filter(user=user).update(is_on=False, changed_at=timezone.now())


def forget(user: User) -> None:
    """Forget the account's card and wishes."""
    TopUp.objects.filter(user=user).delete()


@receiver(ledger.lowered, sender=Wallet)
def on_lowered(user_id: int, **_: Any) -> None:
    # After the commit, where nobody waits for it; should it fail, the account's next request asks again.
    if gateway.is_on():
        transaction.on_commit(partial(ring_if_wanted, user_id), robust=True)


def ring_if_wanted(user_id: int) -> None:
    """Let an io worker look at the account, if it is under its line."""
    if below_the_line().filter(user_id=user_id).exists():
        queue.ring("top_up", user_id)


def below_the_line() -> Any:
    return TopUp.objects.filter(is_on=True, threshold_credits__gt=F("user__wallet__balance"))


def run(user_id: int) -> None:
    """Charge the card of an account that is under its line, at most once at a time; asks Stripe.

    Whoever else is at it, and however often this is called: there is one running purchase an account, a constraint
    says, and its id is the idempotency key.
    """
    if not gateway.is_on():
        return
    purchase = resumable(user_id) or (begin(user_id) if is_offered() else None)
    if purchase:
        charge(purchase)


def begin(user_id: int) -> Purchase | None:
    """Write down the charge that is to be made, or nothing when there is none to make."""
    with transaction.atomic():
        # Locked: who comes second sees the first one's purchase, or its credits.
        chosen = TopUp.objects.select_for_update(of=("self",)).select_related("pack", "user")
        top_up = chosen.filter(user_id=user_id, is_on=True).first()
        if top_up is None or not top_up.pack or not top_up.user.is_active or top_up.user.suspended_at:
            return None
        if not top_up.pack.is_active:
            switch_off(top_up.user, f"The pack {top_up.pack.name} is not on sale any more.")
            return None
        mine = Purchase.objects.filter(user_id=user_id, kind=Purchase.Kind.TOP_UP)
        # In this order: a charge that was paid before the first look has its credits in the second.
        if mine.filter(status=Purchase.Status.PENDING).exists() or ledger.balance(user_id) >= top_up.threshold_credits:
            return None
        if mine.filter(status=Purchase.Status.PAID, created_at__gt=timezone.now() - DAY).count() >= top_up.most_a_day:
            return None
        return purchases.begin(
            top_up.user, top_up.pack, Purchase.Kind.TOP_UP, payment_method_id=top_up.payment_method_id
        )


def resumable(user_id: int) -> Purchase | None:
    """Return the account's charge that was cut off before its end."""
    since = timezone.now() - PATIENCE
    return (
        Purchase.objects.filter(
            user_id=user_id, kind=Purchase.Kind.TOP_UP, status=Purchase.Status.PENDING, created_at__lt=since
        )
        .select_related("user", "pack")
        .first()
    )


def charge(purchase: Purchase) -> None:
    """Make a charge that is written down; repeating it charges once."""
    try:
        truth.settle(partial(ask, purchase))
    except gateway.CardDeclined as refusal:
        purchases.fail(purchase, str(refusal))
    except gateway.GatewayRefused as refusal:
        logger.error("The top-up %s was refused: %s", purchase.pk, refusal)
        purchases.fail(purchase, "The saved card can't be charged any more.")
    except (gateway.GatewayUnavailable, truth.Busy) as error:
        logger.warning("The top-up %s waits for the sweep: %s", purchase.pk, error)


def ask(purchase: Purchase) -> truth.Change:
    """Charge the card, or look up what became of it, and return what to write down."""
    seen = Purchase.objects.select_related("user").get(pk=purchase.pk)
    if seen.is_final:
        return list
    if seen.payment_intent_id:
        payment = gateway.read_payment(seen.payment_intent_id)
    elif seen.created_at < timezone.now() - KEY_LIFE or seen.user.closed_at:
        customer_id = customers.known_stripe_id(seen.user)
        found = gateway.find_payment(str(seen.pk), customer_id, seen.created_at - PATIENCE) if customer_id else None
        payment = found or gateway.Payment("expired", failure="The charge never reached Stripe.")
    else:
        payment = gateway.charge_saved_card(
            purchases.as_item(seen),
            reference=str(seen.pk),
            metadata=purchases.metadata(seen),
            customer_id=customers.stripe_id(seen.user),
            payment_method_id=seen.payment_method_id,
        )
    if payment.status == "failed":
        raise gateway.CardDeclined(payment.failure or "Your card was declined.")
    return partial(purchases.apply, seen, payment)


@receiver(purchases.failed, sender=Purchase)
def on_failed(purchase: Purchase, reason: str, **_: Any) -> None:
    """Charge a card that was refused no more, whether its answer or its event came first."""
    if purchase.kind == Purchase.Kind.TOP_UP:
        switch_off(purchase.user, reason or "Your card was declined.")


def switch_off(user: User, reason: str) -> None:
    """Turn the top-up off for the customer, if it is on, and say why; joins the caller's transaction."""
    running = TopUp.objects.filter(user=user, is_on=True)
    if running.update(is_on=False, off_reason=reason[:200], changed_at=timezone.now()):
        notices.write(user, "top_up_off", reason=reason)


def due() -> set[int]:
    """Return the accounts that are under their line or have a charge that was cut off."""
    since = timezone.now() - PATIENCE
    cut_off = Purchase.objects.filter(
        kind=Purchase.Kind.TOP_UP, status=Purchase.Status.PENDING, created_at__lt=since
    ).values_list("user_id", flat=True)
    return {*below_the_line().values_list("user_id", flat=True), *cut_off}
