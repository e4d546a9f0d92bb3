"""billing.top_ups: a saved card is charged when the balance falls under the line."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import IntegrityError
from django.utils import timezone

from accounts import closing
from accounts.models import User
from billing import customers, gateway, jobs, ledger, purchases, reconciliation, top_ups
from billing.models import Notice, Pack, Purchase, TopUp
from config import nudges
from tests.conftest import Person
from tests.stripe_server import PretendStripe, cards


@pytest.fixture
def save_card(stripe: PretendStripe, bob: Person) -> Callable[..., gateway.Card]:
    """Return a function that saves a card of Bob's at Stripe."""

    def save(number: str = cards.PAYS) -> gateway.Card:
        customer_id = customers.stripe_id(bob.user)
        url = gateway.open_card_page(customer_id, "usd", "https://site/", "https://site/")
        stripe.world.pay(url.rpartition("/")[2], number)
        return gateway.cards(customer_id)[0]

    return save


@pytest.fixture
def turn_on(save_card: Callable[..., gateway.Card], bob: Person, pack: Pack) -> Callable[..., None]:
    """Return a function that lets 1,000 credits be bought for Bob below 100, at most twice a day."""

    def turn(number: str = cards.PAYS, **changes: Any) -> None:
        top_ups.turn_on(
            bob.user, **({"threshold_credits": 100, "most_a_day": 2, "pack": pack} | changes), card=save_card(number)
        )

    return turn


def spend(person: Person, credits: int) -> None:
    cause = f"test:{timezone.now().timestamp()}"
    ledger.hold(person.user.pk, credits, cause)
    ledger.settle(cause, credits)


def test_it_is_off_until_the_customer_turns_it_on(stripe: PretendStripe, bob: Person) -> None:
    top_ups.run(bob.user.pk)

    assert not Purchase.objects.exists()
    assert stripe.charged_cents == []


def test_under_the_line_the_pack_is_bought_once(
    stripe: PretendStripe, turn_on: Callable[..., None], bob: Person
) -> None:
    turn_on()

    for _ in range(3):
        jobs.top_up(bob.user.pk)

    purchase = Purchase.objects.get()
    assert (purchase.kind, purchase.status, purchase.paid_cents) == ("top_up", "paid", 900)
    assert (bob.balance, stripe.charged_cents) == (1000, [900])
    assert stripe.called("POST /v1/payment_intents")[0].idempotency_key == f"top-up-{purchase.pk}"


@pytest.mark.parametrize(("granted", "charges"), [(99, [900]), (100, []), (101, [])])
def test_the_line_itself_is_not_under_it(
    stripe: PretendStripe, turn_on: Callable[..., None], bob: Person, granted: int, charges: list[int]
) -> None:
    ledger.grant(bob.user.pk, granted, "test:bob")
    turn_on()

    top_ups.run(bob.user.pk)

    assert stripe.charged_cents == charges


@pytest.mark.django_db(transaction=True)
def test_a_hold_that_crosses_the_line_tells_a_worker_after_the_commit(
    turn_on: Callable[..., None], bob: Person
) -> None:
    ledger.grant(bob.user.pk, 1000, "test:bob")
    turn_on()
    io = nudges.named("io")
    assert io.count == 0

    ledger.hold(bob.user.pk, 900, "generation:1")
    assert io.count == 0

    ledger.hold(bob.user.pk, 1, "generation:2")
    assert [(job.func_name, job.args) for job in io.jobs] == [("billing.jobs.top_up", [bob.user.pk])]


def test_the_events_of_a_top_up_change_nothing_more(
    stripe: PretendStripe, turn_on: Callable[..., None], bob: Person
) -> None:
    turn_on()
    top_ups.run(bob.user.pk)

    assert set(stripe.webhooks.deliver(reversed(stripe.webhooks.pending), copies=2)) == {200}

    assert bob.balance == 1000
    assert [*ledger.differences(), *reconciliation.differences()] == []


def test_no_more_than_the_chosen_number_in_24_hours(
    stripe: PretendStripe, turn_on: Callable[..., None], bob: Person
) -> None:
    turn_on()
    for _ in range(4):
        top_ups.run(bob.user.pk)
        if bob.balance:
            spend(bob, bob.balance)
    assert stripe.charged_cents == [900, 900]

    Purchase.objects.update(created_at=timezone.now() - timedelta(hours=25))
    top_ups.run(bob.user.pk)
    assert stripe.charged_cents == [900, 900, 900]


@pytest.mark.parametrize(
    ("card", "reason"),
    [
        (cards.DECLINED_LATER, "Your card was declined."),
        (cards.AUTHENTICATES, "Your bank asks you to confirm the payment yourself."),
    ],
)
def test_a_card_that_refuses_turns_it_off_and_the_owner_is_told(
    stripe: PretendStripe, turn_on: Callable[..., None], bob: Person, card: str, reason: str
) -> None:
    turn_on(card)

    for _ in range(3):
        top_ups.run(bob.user.pk)
    jobs.send_notice(Notice.objects.get().pk)

    chosen, purchase = TopUp.objects.get(), Purchase.objects.get()
    assert (chosen.is_on, chosen.off_reason) == (False, reason)
    assert (purchase.status, purchase.failure, bob.balance) == ("failed", reason, 0)
    assert stripe.charged_cents == []
    assert [(message.to, message.subject) for message in mail.outbox] == [
        (["bob@example.org"], f"Automatic top-up is off: {reason}")
    ]
    assert reason in mail.outbox[0].body


def test_a_card_that_is_gone_turns_it_off(stripe: PretendStripe, turn_on: Callable[..., None], bob: Person) -> None:
    turn_on()
    TopUp.objects.update(payment_method_id="pm_gone")

    top_ups.run(bob.user.pk)

    assert TopUp.objects.get().off_reason == "The saved card can't be charged any more."
    assert Purchase.objects.get().status == "failed"


def test_turning_it_on_again_after_a_refusal_works(
    stripe: PretendStripe, turn_on: Callable[..., None], bob: Person
) -> None:
    turn_on(cards.DECLINED_LATER)
    top_ups.run(bob.user.pk)
    turn_on()

    top_ups.run(bob.user.pk)

    assert (TopUp.objects.get().off_reason, bob.balance) == ("", 1000)


@pytest.mark.parametrize("fault", ["lose", "break_down"])
def test_a_charge_whose_answer_is_lost_is_asked_for_again_with_its_key(
    stripe: PretendStripe, turn_on: Callable[..., None], bob: Person, fault: str
) -> None:
    turn_on()
    getattr(stripe.faults, fault)("POST /v1/payment_intents")
    top_ups.run(bob.user.pk)
    assert (Purchase.objects.get().status, TopUp.objects.get().is_on) == ("pending", True)

    top_ups.run(bob.user.pk)  # somebody may still be at it
    assert bob.balance == 0
    Purchase.objects.update(created_at=timezone.now() - timedelta(minutes=3))
    assert top_ups.due() == {bob.user.pk}
    top_ups.run(bob.user.pk)

    assert (Purchase.objects.get().status, bob.balance, stripe.charged_cents) == ("paid", 1000, [900])


@pytest.mark.parametrize(("charged", "status"), [(True, "paid"), (False, "expired")])
def test_a_charge_whose_key_stripe_may_have_forgotten_is_looked_up_and_never_repeated(
    stripe: PretendStripe, turn_on: Callable[..., None], bob: Person, charged: bool, status: str
) -> None:
    turn_on()
    getattr(stripe.faults, "lose" if charged else "break_down")("POST /v1/payment_intents")
    top_ups.run(bob.user.pk)
    Purchase.objects.update(created_at=timezone.now() - timedelta(hours=13))

    top_ups.run(bob.user.pk)

    assert (Purchase.objects.get().status, bob.balance) == (status, 1000 * charged)
    assert stripe.charged_cents == [900] * charged


@pytest.mark.parametrize("charged", [True, False])
def test_a_charge_of_an_account_that_closed_meanwhile_is_looked_up_and_never_made(
    stripe: PretendStripe, turn_on: Callable[..., None], bob: Person, charged: bool
) -> None:
    turn_on()
    getattr(stripe.faults, "lose" if charged else "break_down")("POST /v1/payment_intents")
    top_ups.run(bob.user.pk)
    closing.close(bob.user)
    Purchase.objects.update(created_at=timezone.now() - timedelta(minutes=3))

    top_ups.run(bob.user.pk)

    assert Purchase.objects.get().status == ("paid" if charged else "expired")
    assert stripe.charged_cents == [900] * charged


def test_a_refusal_that_is_heard_by_its_event_alone_turns_it_off(
    stripe: PretendStripe, turn_on: Callable[..., None], bob: Person
) -> None:
    turn_on(cards.DECLINED_LATER)
    stripe.faults.lose("POST /v1/payment_intents")
    top_ups.run(bob.user.pk)
    assert (Purchase.objects.get().status, TopUp.objects.get().is_on) == ("pending", True)

    stripe.webhooks.deliver_until_quiet()
    top_ups.run(bob.user.pk)

    chosen = TopUp.objects.get()
    assert Purchase.objects.get().status == "failed"
    assert Notice.objects.get().subject == "Automatic top-up is off: Your card was declined."
    assert (chosen.is_on, chosen.off_reason) == (False, "Your card was declined.")


def test_the_event_of_a_charge_whose_answer_was_lost_credits_it(
    stripe: PretendStripe, turn_on: Callable[..., None], bob: Person
) -> None:
    turn_on()
    stripe.faults.lose("POST /v1/payment_intents")
    top_ups.run(bob.user.pk)

    stripe.webhooks.deliver_until_quiet()

    assert (Purchase.objects.get().status, bob.balance) == ("paid", 1000)


def test_a_pack_that_is_not_on_sale_any_more_is_not_bought(
    stripe: PretendStripe, turn_on: Callable[..., None], bob: Person
) -> None:
    turn_on()
    Pack.objects.update(is_active=False)

    top_ups.run(bob.user.pk)

    assert TopUp.objects.get().off_reason == "The pack Medium is not on sale any more."
    assert not Purchase.objects.exists()


@pytest.mark.parametrize("stopped", ["suspended", "closed", "turned off", "no Stripe"])
def test_who_does_not_want_or_may_not_is_not_charged(
    stripe: PretendStripe, turn_on: Callable[..., None], bob: Person, settings: Any, stopped: str
) -> None:
    turn_on()
    if stopped == "suspended":
        User.objects.filter(pk=bob.user.pk).update(suspended_at=timezone.now(), suspension_reason="Chargebacks.")
    elif stopped == "closed":
        User.objects.filter(pk=bob.user.pk).update(is_active=False)
    elif stopped == "turned off":
        top_ups.turn_off(bob.user)
    else:
        settings.STRIPE_SECRET_KEY = ""

    top_ups.run(bob.user.pk)

    assert stripe.charged_cents == []


def test_the_database_refuses_a_second_running_top_up(bob: Person, pack: Pack) -> None:
    purchases.begin(bob.user, pack, Purchase.Kind.TOP_UP)

    with pytest.raises(IntegrityError, match="one_running_top_up"):
        purchases.begin(bob.user, pack, Purchase.Kind.TOP_UP)
