"""manage.py starter_catalog"""

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Plan
from billing import purchases, subscriptions
from billing.models import Offer, Pack
from tests.conftest import Person
from tests.stripe_server import PretendStripe

SITE = "http://testserver"


def run() -> str:
    out = StringIO()
    call_command("starter_catalog", stdout=out)
    return out.getvalue()


@pytest.mark.django_db
def test_it_puts_packs_and_plans_on_sale_once(settings: Any, person: Any) -> None:
    settings.CURRENCY = "eur"

    assert run().startswith("3 packs and 3 plans are on sale, in eur.")
    Pack.objects.filter(name="Small").update(price_cents=1)

    assert run().startswith("Nothing was done")
    assert list(Pack.objects.values_list("price_cents", "currency")) == [(1, "eur"), (1000, "eur"), (5000, "eur")]
    assert [str(offer) for offer in Offer.objects.all()] == ["Free", "Studio", "Agency"]
    assert str(person("dora").user.plan) == "Free"


@pytest.mark.django_db
def test_it_leaves_a_catalog_alone_that_is_there(pack: Pack) -> None:
    assert run().startswith("Nothing was done")
    assert Pack.objects.count() == 1
    assert not Offer.objects.exists()


def test_what_it_puts_on_sale_can_be_bought_and_its_plans_changed(stripe: PretendStripe, bob: Person) -> None:
    run()

    studio, agency = Offer.objects.filter(price_cents__gt=0)
    purchase = purchases.buy(bob.user, Pack.objects.all()[0], SITE)
    subscription = subscriptions.subscribe(bob.user, studio, SITE)
    stripe.world.pay(purchase.session_id)
    stripe.world.pay(subscription.session_id)
    [begun] = stripe.world.all("subscription")
    stripe.world.change_plan(begun["id"], agency.stripe_price_id)
    stripe.webhooks.deliver_until_quiet()

    bob.user.refresh_from_db()
    assert str(bob.user.plan) == "Agency"
    assert bob.balance >= 500 + 2000


def test_it_writes_nothing_when_stripe_does_not_answer(stripe: PretendStripe) -> None:
    stripe.faults.break_down("POST /v1/prices")

    with pytest.raises(CommandError, match="Stripe could not be told of the plans"):
        run()

    assert not Pack.objects.exists()
    assert not Plan.objects.exists()
