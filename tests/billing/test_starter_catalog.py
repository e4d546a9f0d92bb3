"""manage.py starter_catalog"""

from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from billing.models import Offer, Pack


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
