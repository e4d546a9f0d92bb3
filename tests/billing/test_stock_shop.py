"""manage.py stock_shop"""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Plan
from billing import purchases, subscriptions
from billing.models import Offer, Pack
from tests.conftest import Person
from tests.stripe_server import PretendStripe

SITE = "http://testserver"


def stock() -> str:
    out = StringIO()
    call_command("stock_shop", stdout=out)
    return out.getvalue()


def test_what_it_puts_on_sale_can_be_bought_and_changed(stripe: PretendStripe, bob: Person) -> None:
    assert stock() == "3 packs and 2 plans are for sale.\n"

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
    assert bob.balance >= 500 + 1500


def test_it_touches_nothing_where_something_is_for_sale(stripe: PretendStripe, pack: Pack) -> None:
    assert stock() == "There is something for sale already; nothing was changed.\n"
    assert (Pack.objects.count(), Offer.objects.count(), Plan.objects.count()) == (1, 0, 0)


def test_it_works_where_cards_are_off(db: None) -> None:
    assert stock() == "3 packs and 2 plans are for sale.\n"
    assert set(Offer.objects.values_list("stripe_price_id", flat=True)) == {""}


def test_it_writes_nothing_when_stripe_does_not_answer(stripe: PretendStripe) -> None:
    stripe.faults.break_down("POST /v1/prices")

    with pytest.raises(CommandError, match="Stripe could not be told of the plans"):
        stock()

    assert not Pack.objects.exists()
    assert not Plan.objects.exists()
