"""manage.py reconcile_stripe"""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from billing import customers, gateway, jobs, ledger, reconciliation, top_ups
from billing.models import Entry, Pack, Purchase, Subscription
from tests.billing.conftest import charge_of
from tests.conftest import Person
from tests.stripe_server import PretendStripe

CONTENT = "Our ledger says what Stripe says.\n"


def run(*args: str) -> tuple[str, str]:
    """Return what the command printed, and its refusal if it made one."""
    out = StringIO()
    try:
        call_command("reconcile_stripe", *args, stdout=out)
    except CommandError as refusal:
        return out.getvalue(), str(refusal)
    return out.getvalue(), ""


@pytest.fixture
def lost(stripe: PretendStripe, bought: Purchase) -> Purchase:
    """Bob's pack, paid and half refunded; no event ever came."""
    stripe.world.refund(charge_of(stripe), 450)
    stripe.webhooks.drop()
    return bought


def test_it_lists_what_our_ledger_lacks_and_changes_nothing(lost: Purchase, bob: Person) -> None:
    printed, refusal = run()

    assert f"{lost.session_id}: pending → paid, +1,000 credits, -500 credits" in printed
    assert refusal.endswith("differences. Run it again with --repair.")
    lost.refresh_from_db()
    assert (lost.status, bob.balance) == ("pending", 0)
    assert not Entry.objects.exists()


def test_it_repairs_what_our_ledger_lacks_and_a_second_run_finds_nothing(lost: Purchase, bob: Person) -> None:
    printed, refusal = run("--repair")

    assert (printed, refusal) == (
        f"{lost.session_id}: pending → paid, +1,000 credits, -500 credits (repaired)\n{CONTENT}",
        "",
    )
    assert bob.balance == 500
    assert run() == (CONTENT, "")
    assert run("--repair") == (CONTENT, "")
    assert [*ledger.differences(), *reconciliation.differences()] == []


def test_it_finds_refunds_of_old_payments(stripe: PretendStripe, bought: Purchase, bob: Person) -> None:
    stripe.webhooks.deliver_until_quiet()
    for thing in ("checkout.session", "payment_intent", "charge"):
        for found in stripe.account.all(thing):
            found["created"] -= 30 * 24 * 3600
    stripe.world.refund(charge_of(stripe), 900)

    printed, _ = run("--repair", "--days", "2")

    assert printed == f"{stripe.world.all('payment_intent')[0]['id']}: -1,000 credits (repaired)\n{CONTENT}"
    assert bob.balance == 0


def test_it_repairs_a_subscription_and_its_months(stripe: PretendStripe, subscribed: Subscription, bob: Person) -> None:
    stripe.world.renew(stripe.world.all("subscription")[0]["id"])
    stripe.webhooks.drop()

    run("--repair")

    bob.user.refresh_from_db()
    assert (str(bob.user.plan), bob.balance) == ("Studio", 800)
    assert run() == (CONTENT, "")


def test_it_writes_a_purchase_again_that_our_database_has_lost(lost: Purchase, bob: Person) -> None:
    Purchase.objects.all().delete()
    printed, _ = run()
    assert f"{lost.session_id}: purchase {lost.pk} is not in our database" in printed
    assert not Purchase.objects.exists()

    run("--repair")

    again = Purchase.objects.get()
    assert (again.pk, again.user, again.credits, again.price_cents) == (lost.pk, bob.user, 1000, 900)
    assert (again.status, bob.balance) == ("paid", 500)
    assert run() == (CONTENT, "")


def test_it_writes_a_top_up_again_that_our_database_has_lost(
    stripe: PretendStripe, bought: Purchase, bob: Person, pack: Pack
) -> None:
    customer_id = customers.stripe_id(bob.user)
    gateway.client().v1.payment_methods.attach("pm_card_visa", {"customer": customer_id})
    top_ups.turn_on(bob.user, 100, pack, 1, gateway.cards(customer_id)[0])
    stripe.faults.lose("POST /v1/payment_intents")
    top_ups.run(bob.user.pk)
    stripe.webhooks.drop()
    lost = Purchase.objects.get(kind="top_up")
    Purchase.objects.filter(pk=lost.pk).delete()

    run("--repair")

    again = Purchase.objects.get(kind="top_up")
    assert (again.pk, again.status, again.credits, again.price_cents) == (lost.pk, "paid", 1000, 900)
    assert bob.balance == 2000
    assert run() == (CONTENT, "")


def test_it_lists_a_subscription_that_our_database_has_lost(
    stripe: PretendStripe, subscribed: Subscription, bob: Person
) -> None:
    session_id = subscribed.session_id
    Subscription.objects.all().delete()

    printed, refusal = run("--repair")

    assert printed == f"{session_id}: subscription {subscribed.pk} is not in our database\n"
    assert refusal == "1 differences. Run it again with --repair."
    assert bob.balance == 0


@pytest.mark.parametrize("other", ["account", "pack", "site"])
def test_it_does_not_guess_whose_a_lost_purchase_was(
    lost: Purchase, bob: Person, pack: Pack, settings: Any, other: str
) -> None:
    Purchase.objects.all().delete()
    if other == "account":
        bob.user.joined_at += timedelta(days=1)
        bob.user.save()
    elif other == "pack":
        pack.delete()
    else:
        settings.PUBLIC_URL = "https://another.example"

    run("--repair")

    assert not Purchase.objects.exists()
    assert not Entry.objects.exists()


def test_the_clock_s_job_repairs(lost: Purchase, bob: Person, settings: Any) -> None:
    jobs.reconcile()
    assert bob.balance == 500

    settings.STRIPE_SECRET_KEY = ""
    jobs.reconcile()


def test_it_says_when_stripe_does_not_answer(stripe: PretendStripe, lost: Purchase) -> None:
    stripe.faults.break_down("GET /v1/refunds")

    _, refusal = run()

    assert refusal.startswith("Stripe does not answer, so this is not all")


def test_it_needs_a_key_and_a_day(db: None, stripe: PretendStripe, settings: Any) -> None:
    assert run("--days", "0")[1] == run("--days", "9999999")[1] == "--days must be from 1 to 3650."
    settings.STRIPE_SECRET_KEY = ""
    assert run()[1] == "Card payments are off: STRIPE_SECRET_KEY is not set."


def test_check_ledger_names_a_purchase_whose_credits_are_missing(bought: Purchase, capsys: Any) -> None:
    Purchase.objects.update(status="paid", paid_at=bought.created_at)

    assert list(reconciliation.differences()) == [f"Purchase {bought.pk}: 1000 credits are due, but its entries say 0."]


@pytest.mark.tampered_ledger
def test_check_ledger_names_credits_of_a_purchase_that_is_not_paid(bought: Purchase, bob: Person) -> None:
    ledger.grant(bob.user.pk, 5, bought.cause)

    assert list(reconciliation.differences()) == [f"Purchase {bought.pk}: it is not paid, but its entries say 5."]
