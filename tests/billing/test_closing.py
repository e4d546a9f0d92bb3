"""What closing an account does to its payments."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from accounts import closing, jobs
from accounts.models import User
from billing import subscriptions
from billing.models import Notice, Pack, Purchase, Subscription, TopUp
from tests.conftest import Person
from tests.stripe_server import PretendStripe


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
