"""billing.subscriptions: plans, their months, and what rolls over."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.core import mail

from accounts.models import Plan, User
from billing import gateway, jobs, ledger, reconciliation, subscriptions, truth
from billing.gateway import Line
from billing.models import Entry, Notice, Offer, Purchase, Subscription, Wallet
from billing.sale import NotForSale
from tests.conftest import Person
from tests.stripe_server import PretendStripe, cards

SITE = "http://testserver"


def plan_of(person: Person) -> str:
    return str(User.objects.get(pk=person.user.pk).plan)


def stripe_id(stripe: PretendStripe) -> str:
    return str(stripe.world.all("subscription")[-1]["id"])


def price_at_stripe(cents: int) -> str:
    product = gateway.client().v1.products.create({"name": "Plan"}).id
    month: Any = {"product": product, "currency": "usd", "recurring": {"interval": "month"}, "unit_amount": cents}
    return gateway.client().v1.prices.create(month).id


@pytest.fixture
def large(stripe: PretendStripe, studio: Offer) -> Offer:
    """A plan of 30 dollars and 1,500 credits; both plans have a price at Stripe, so that customers can change."""
    studio.stripe_price_id = price_at_stripe(1000)
    studio.save()
    plan = Plan.objects.create(name="Agency")
    return Offer.objects.create(
        plan=plan, monthly_credits=1500, price_cents=3000, currency="usd", stripe_price_id=price_at_stripe(3000)
    )


def test_subscribing_opens_a_page_and_changes_nothing_yet(stripe: PretendStripe, bob: Person, studio: Offer) -> None:
    subscription = subscriptions.subscribe(bob.user, studio, SITE)

    session = stripe.world.all("checkout.session")[0]
    assert (subscription.status, subscription.session_url) == ("starting", session["url"])
    assert session["mode"] == "subscription"
    assert session["metadata"]["subscription"] == str(subscription.pk)
    assert (plan_of(bob), bob.balance) == ("None", 0)


def test_a_paid_subscription_gives_the_plan_and_the_month_s_credits(
    stripe: PretendStripe, subscribed: Subscription, bob: Person
) -> None:
    stripe.webhooks.deliver_until_quiet()

    subscribed.refresh_from_db()
    month = Purchase.objects.get()
    assert (subscribed.status, plan_of(bob), bob.balance) == ("active", "Studio", 400)
    assert (month.kind, month.status, month.paid_cents, month.credits) == ("month", "paid", 1000, 400)
    assert subscribed.current_period_end
    assert list(Entry.objects.values_list("kind", "credits", "note")) == [("month", 400, "Month of Studio")]


def test_subscribing_again_goes_back_to_the_same_page(stripe: PretendStripe, bob: Person, studio: Offer) -> None:
    first, second = (subscriptions.subscribe(bob.user, studio, SITE) for _ in range(2))

    assert first == second
    assert len(stripe.world.all("checkout.session")) == 1


def test_choosing_another_plan_closes_the_page_of_the_first(
    stripe: PretendStripe, bob: Person, studio: Offer, large: Offer
) -> None:
    first = subscriptions.subscribe(bob.user, studio, SITE)
    second = subscriptions.subscribe(bob.user, large, SITE)

    first.refresh_from_db()
    assert (first.status, second.status, second.offer) == ("abandoned", "starting", large)
    assert [session["status"] for session in stripe.world.all("checkout.session")] == ["expired", "open"]


def test_a_subscription_that_is_paid_while_another_page_begins_one_stays_the_only_one(
    stripe: PretendStripe, subscribed: Subscription, bob: Person, studio: Offer, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = subscriptions.start

    def start_after_the_event(user: User, offer: Offer) -> Subscription:
        stripe.webhooks.deliver_until_quiet()
        return start(user, offer)

    monkeypatch.setattr(subscriptions, "start", start_after_the_event)
    with pytest.raises(subscriptions.SubscribedAlready):
        subscriptions.subscribe(bob.user, studio, SITE)

    assert [session["status"] for session in stripe.world.all("checkout.session")] == ["complete"]
    assert sorted(Subscription.objects.values_list("status", flat=True)) == ["abandoned", "active"]


def test_what_stripe_said_before_another_process_first_wrote_our_row_is_asked_again(
    stripe: PretendStripe, subscribed: Subscription, bob: Person, once_read: Callable[..., list[Any]]
) -> None:
    settle = partial(truth.settle, partial(subscriptions.read, stripe_id(stripe)))

    def end() -> None:
        gateway.end_subscription(stripe_id(stripe))
        settle()

    answers = once_read("read_subscription", end)
    settle()

    assert answers[0].status == "active"
    assert (Subscription.objects.get().status, plan_of(bob)) == ("canceled", "Free")


def test_who_has_a_subscription_can_not_begin_a_second(
    stripe: PretendStripe, subscribed: Subscription, bob: Person, studio: Offer
) -> None:
    with pytest.raises(subscriptions.SubscribedAlready):  # though no event has come yet
        subscriptions.subscribe(bob.user, studio, SITE)

    assert len(stripe.world.all("subscription")) == 1
    assert plan_of(bob) == "Studio"


def test_a_subscription_that_was_begun_twice_is_said_and_changes_nothing(
    stripe: PretendStripe, subscribed: Subscription, bob: Person, caplog: pytest.LogCaptureFixture
) -> None:
    stripe.webhooks.deliver_until_quiet()
    before = Subscription.objects.values().get()
    line = {
        "price_data": {
            "currency": "usd",
            "unit_amount": 1000,
            "product_data": {"name": "Again"},
            "recurring": {"interval": "month"},
        },
        "quantity": 1,
    }
    session = gateway.client().v1.checkout.sessions.create(
        {
            "mode": "subscription",
            "client_reference_id": str(subscribed.pk),
            "subscription_data": {"metadata": {"subscription": str(subscribed.pk)}},
            "line_items": [line],
            "success_url": SITE,
        }
    )
    stripe.world.pay(session.id)
    second = stripe_id(stripe)

    said = [truth.settle(partial(subscriptions.read_session, session.id))]
    gateway.end_subscription(second)
    said.append(truth.settle(partial(subscriptions.read, second)))

    assert second != subscribed.stripe_id
    assert said == [[f"begun a second time as {second}: cancel that one at Stripe"]] * 2
    assert f"{subscribed.pk} was begun twice, as {second} too." in caplog.messages
    assert Subscription.objects.values().get() == before
    assert (plan_of(bob), bob.balance) == ("Studio", 400)


@pytest.mark.parametrize("broken", ["inactive", "free", "no free plan"])
def test_what_is_not_for_sale_can_not_be_subscribed_to(
    stripe: PretendStripe, bob: Person, studio: Offer, broken: str
) -> None:
    if broken == "inactive":
        studio.is_active = False
    free = Offer.objects.get(price_cents=0)
    if broken == "no free plan":
        free.delete()

    with pytest.raises(NotForSale):
        subscriptions.subscribe(bob.user, free if broken == "free" else studio, SITE)

    assert not Subscription.objects.exists()


def test_each_paid_month_gives_its_credits_once(stripe: PretendStripe, subscribed: Subscription, bob: Person) -> None:
    stripe.world.renew(stripe_id(stripe))

    for _ in range(2):
        stripe.webhooks.deliver(copies=3)

    assert bob.balance == 800
    assert Purchase.objects.count() == 2


def test_unused_credits_roll_over_up_to_one_month_s(
    stripe: PretendStripe, subscribed: Subscription, bob: Person
) -> None:
    ledger.grant(bob.user.pk, 50, "test:bought")
    for _ in range(4):
        stripe.world.renew(stripe_id(stripe))
        stripe.webhooks.deliver_until_quiet()

    assert bob.balance == 50 + 2 * 400
    assert list(Entry.objects.filter(kind="expire").values_list("credits", flat=True)) == [-400, -400, -400]


@pytest.mark.parametrize(
    ("spent", "balance", "expired"),
    [(0, 850, -400), (100, 850, -300), (400, 850, None), (650, 600, None), (850, 400, None)],
)
def test_plan_credits_are_spent_before_those_that_were_bought(
    stripe: PretendStripe, subscribed: Subscription, bob: Person, spent: int, balance: int, expired: int | None
) -> None:
    ledger.grant(bob.user.pk, 50, "test:bought")
    stripe.world.renew(stripe_id(stripe))
    stripe.webhooks.deliver_until_quiet()
    if spent:
        ledger.hold(bob.user.pk, spent, "generation:1")
        ledger.settle("generation:1", spent)

    stripe.world.renew(stripe_id(stripe))
    stripe.webhooks.deliver_until_quiet()

    expiry = Entry.objects.filter(kind="expire").first()
    assert (bob.balance, expiry and expiry.credits) == (balance, expired)


def test_credits_that_were_given_back_count_as_unspent(
    stripe: PretendStripe, subscribed: Subscription, bob: Person
) -> None:
    stripe.webhooks.deliver_until_quiet()
    ledger.hold(bob.user.pk, 300, "generation:1")
    ledger.settle("generation:1", 0)
    for _ in range(2):
        stripe.world.renew(stripe_id(stripe))
        stripe.webhooks.deliver_until_quiet()

    assert bob.balance == 800


def test_a_month_that_was_refunded_does_not_expire_what_was_bought(
    stripe: PretendStripe, subscribed: Subscription, bob: Person
) -> None:
    ledger.grant(bob.user.pk, 500, "test:bought")
    stripe.webhooks.deliver_until_quiet()
    stripe.world.refund(stripe.world.all("charge")[0]["id"])
    for _ in range(2):
        stripe.world.renew(stripe_id(stripe))
    stripe.webhooks.deliver_until_quiet()

    assert bob.balance == 500 + 2 * 400
    assert not Entry.objects.filter(kind="expire").exists()


def test_a_month_s_credits_pay_what_is_owed(stripe: PretendStripe, subscribed: Subscription, bob: Person) -> None:
    ledger.take_back(bob.user.pk, 150, "test:refund")

    stripe.webhooks.deliver_until_quiet()

    wallet = Wallet.objects.get(user=bob.user)
    assert (wallet.balance, wallet.owed, wallet.monthly) == (250, 0, 250)


def test_past_due_lowers_the_account_to_the_free_plan_with_a_message_and_takes_nothing(
    stripe: PretendStripe, subscribed: Subscription, bob: Person
) -> None:
    stripe.webhooks.deliver_until_quiet()
    stripe.world.change_card(stripe.world.all("customer")[0]["id"], cards.DECLINED)
    stripe.world.renew(stripe_id(stripe))

    stripe.webhooks.deliver_until_quiet()
    jobs.send_notice(Notice.objects.get().pk)

    subscribed.refresh_from_db()
    assert (subscribed.status, plan_of(bob), bob.balance) == ("past_due", "Free", 400)
    assert [message.subject for message in mail.outbox] == ["Your Studio plan could not be paid"]
    assert "on the Free plan" in mail.outbox[0].body


def test_a_canceled_subscription_leaves_the_credits(
    stripe: PretendStripe, subscribed: Subscription, bob: Person
) -> None:
    stripe.world.cancel(stripe_id(stripe))

    stripe.webhooks.deliver_until_quiet()

    assert (plan_of(bob), bob.balance) == ("Free", 400)
    assert subscriptions.current(bob.user) is None


def test_a_cancellation_at_the_end_of_the_period_keeps_the_plan_until_then(
    stripe: PretendStripe, subscribed: Subscription, bob: Person
) -> None:
    stripe.world.cancel(stripe_id(stripe), at_period_end=True)
    stripe.webhooks.deliver_until_quiet()
    subscribed.refresh_from_db()
    assert (subscribed.cancels_at_period_end, plan_of(bob)) == (True, "Studio")

    stripe.world.renew(stripe_id(stripe))
    stripe.webhooks.deliver_until_quiet()
    assert (plan_of(bob), bob.balance) == ("Free", 400)


def test_a_plan_that_staff_gave_stays(stripe: PretendStripe, subscribed: Subscription, bob: Person) -> None:
    User.objects.filter(pk=bob.user.pk).update(plan=Plan.objects.create(name="Partner"))

    stripe.webhooks.deliver_until_quiet()
    assert plan_of(bob) == "Partner"

    stripe.world.cancel(stripe_id(stripe))
    stripe.webhooks.deliver_until_quiet()
    assert plan_of(bob) == "Partner"


def test_a_change_of_plan_in_the_portal_changes_the_plan_and_buys_the_difference(
    stripe: PretendStripe, large: Offer, subscribed: Subscription, bob: Person
) -> None:
    stripe.webhooks.deliver_until_quiet()
    stripe.world.change_plan(stripe_id(stripe), large.stripe_price_id)
    stripe.webhooks.deliver_until_quiet()
    assert plan_of(bob) == "Agency"

    stripe.world.renew(stripe_id(stripe))
    stripe.webhooks.deliver_until_quiet()

    subscribed.refresh_from_db()
    assert subscribed.offer == large
    # A month of Studio, the difference for the rest of it, and a month of Agency.
    assert bob.balance == pytest.approx(400 + 1100 + 1500, abs=3)
    assert [*ledger.differences(), *reconciliation.differences()] == []


@pytest.mark.parametrize(
    ("lines", "credits"),
    [
        ([("small", 1000)], 400),
        ([("small", 500)], 200),
        ([("small", 0)], 0),
        ([("small", -500), ("large", 1500)], 550),
        ([("small", -500), ("large", 1500), ("large", 3000)], 2050),
        ([("large", -3000), ("small", 1000)], 0),
        ([("price that nobody knows", 333)], 133),
        ([], 0),
    ],
)
def test_an_invoice_buys_the_part_of_the_credits_that_it_pays_of_the_price(
    studio: Offer, lines: list[tuple[str, int]], credits: int
) -> None:
    studio.stripe_price_id = "small"
    studio.save()
    plan = Plan.objects.create(name="Agency")
    Offer.objects.create(plan=plan, monthly_credits=1500, price_cents=3000, currency="usd", stripe_price_id="large")

    assert subscriptions.month_credits(studio, [Line(*line) for line in lines]) == credits


def test_a_new_account_is_on_the_free_plan_where_there_is_one(studio: Offer, person: Any) -> None:
    assert plan_of(person("dora")) == "Free"
    assert plan_of(person("emil", plan=studio.plan)) == "Studio"
