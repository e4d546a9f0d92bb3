"""What closing an account does to its payments."""

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from accounts import closing, jobs
from accounts.models import User
from billing import jobs as billing_jobs
from billing import purchases, subscriptions
from billing.models import Notice, Pack, Purchase, StripeEvent, Subscription, TopUp
from tests.billing.conftest import charge_of
from tests.conftest import Person
from tests.stripe_server import PretendStripe


def about_somebody() -> QuerySet[StripeEvent]:
    """Return the events that name a customer, or a payment: all but those of what is on sale."""
    return StripeEvent.objects.exclude(type__startswith="product.").exclude(type__startswith="price.")


def test_a_closed_account_is_charged_no_more(
    stripe: PretendStripe, subscribed: Subscription, bob: Person, pack: Pack
) -> None:
    stripe.webhooks.deliver_until_quiet()
    TopUp.objects.create(user=bob.user, is_on=True, pack=pack, payment_method_id="pm_1", card="Visa ending in 4242")
    closing.close(bob.user)

    jobs.erase(bob.user.pk)
    User.objects.update(closed_at=timezone.now() - timedelta(hours=1))
    jobs.erase(bob.user.pk)
    stripe.webhooks.deliver_until_quiet()

    [at_stripe] = stripe.world.all("subscription")
    assert at_stripe["status"] == "canceled"
    assert Subscription.objects.get().status == "canceled"
    assert not TopUp.objects.exists()
    assert not Notice.objects.exists()
    assert Purchase.objects.filter(user=bob.user).count() == 1
    assert User.objects.get(pk=bob.user.pk).erased_at


def test_what_stripe_told_of_the_owner_is_blanked_and_that_of_others_stays(
    stripe: PretendStripe, bought: Purchase, bob: Person, alice: Person, pack: Pack
) -> None:
    stripe.webhooks.deliver_until_quiet()
    stripe.world.dispute(charge_of(stripe))
    stripe.webhooks.deliver_until_quiet()
    bobs = set(about_somebody().values_list("pk", flat=True))
    other = purchases.buy(alice.user, pack, "http://testserver")
    stripe.world.pay(other.session_id)
    stripe.webhooks.deliver_until_quiet()
    closing.close(bob.user)
    kept = dict(StripeEvent.objects.exclude(pk__in=bobs).values_list("pk", "payload"))
    assert any(alice.user.email in payload for payload in kept.values())

    jobs.erase(bob.user.pk)

    assert dict(StripeEvent.objects.values_list("pk", "payload")) == kept | dict.fromkeys(bobs, "")


def test_what_stripe_tells_of_a_closed_account_is_not_kept(
    stripe: PretendStripe, subscribed: Subscription, bob: Person
) -> None:
    closing.close(bob.user)

    stripe.webhooks.deliver_until_quiet()

    assert set(about_somebody().values_list("payload", "outcome")) == {("", "applied"), ("", "unknown")}


def test_what_stripe_told_is_kept_for_a_month(stripe: PretendStripe, bought: Purchase) -> None:
    stripe.webhooks.deliver_until_quiet()
    old, *rest = StripeEvent.objects.order_by("pk")
    StripeEvent.objects.filter(pk=old.pk).update(received_at=timezone.now() - timedelta(days=31))

    billing_jobs.expire()

    assert list(StripeEvent.objects.filter(payload="")) == [old]
    assert rest


def test_a_payment_page_that_is_open_is_closed(stripe: PretendStripe, bob: Person, studio: Any) -> None:
    subscriptions.subscribe(bob.user, studio, "http://testserver")
    closing.close(bob.user)

    jobs.erase(bob.user.pk)

    assert Subscription.objects.get().status == "abandoned"
    assert stripe.world.all("checkout.session")[0]["status"] == "expired"


def test_nothing_is_forgotten_while_stripe_is_away(
    stripe: PretendStripe, subscribed: Subscription, bob: Person, settings: Any
) -> None:
    stripe.webhooks.deliver_until_quiet()
    closing.close(bob.user)
    settings.STRIPE_API_BASE = "http://127.0.0.1:9"

    jobs.erase(bob.user.pk)

    assert closing.due() == [bob.user.pk]
