"""What the database refuses of payments, plans, top-ups and customers, whoever writes it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from django.utils import timezone

from accounts.models import Plan
from billing.models import Customer, Offer, Pack, Purchase, Subscription, TopUp
from tests.conftest import Person

Row = Callable[..., models.Model]
NOW = timezone.now()


@pytest.fixture
def rows(bob: Person, alice: Person, pack: Pack, studio: Offer) -> dict[str, Row]:
    """Return for each kind of row a function that makes a right one, unsaved, with changes."""
    subscription = Subscription.objects.create(user=bob.user, offer=studio, status="active", stripe_id="sub_1")
    price = {"credits": 1000, "price_cents": 900, "currency": "usd"}
    Customer.objects.create(user=bob.user, stripe_id="cus_1")

    def made(model: type[models.Model], **right: Any) -> Row:
        return lambda **changes: model(**right | changes)

    return {
        "pack": made(Purchase, user=bob.user, kind="checkout", pack=pack, **price),
        "paid": made(Purchase, user=bob.user, kind="checkout", pack=pack, status="paid", paid_at=NOW, **price),
        "month": made(Purchase, user=bob.user, kind="month", subscription=subscription, invoice_id="in_1", **price),
        "offer": made(Offer, plan=Plan.objects.create(name="Large"), monthly_credits=9, price_cents=1, currency="usd"),
        "subscription": made(Subscription, user=alice.user, offer=studio, status="canceled", stripe_id="sub_2"),
        "top-up": made(TopUp, user=bob.user, is_on=True, pack=pack, payment_method_id="pm_1"),
        "customer": made(Customer, user=alice.user, stripe_id="cus_2"),
    }


WRONG: list[tuple[str, str, dict[str, Any]]] = [
    ("purchase_buys_a_pack_or_a_month", "pack", {"pack": None}),
    ("purchase_buys_a_pack_or_a_month", "pack", {"kind": "month", "invoice_id": "in_2"}),
    ("purchase_buys_a_pack_or_a_month", "pack", {"kind": "top_up", "credits": 0}),
    ("purchase_buys_a_pack_or_a_month", "pack", {"kind": "present"}),
    ("purchase_buys_a_pack_or_a_month", "month", {"subscription": None}),
    ("purchase_buys_a_pack_or_a_month", "month", {"kind": "checkout"}),
    ("purchase_buys_a_pack_or_a_month", "month", {"invoice_id": ""}),
    ("paid_at_exactly_when_paid", "paid", {"paid_at": None}),
    ("paid_at_exactly_when_paid", "pack", {"paid_at": NOW}),
    ("paid_at_exactly_when_paid", "pack", {"status": "expired", "paid_at": NOW}),
    ("only_paid_is_taken_back", "pack", {"taken_credits": 1}),
    ("only_paid_is_taken_back", "pack", {"status": "failed", "taken_credits": 1000}),
    ("never_takes_more_than_it_gave", "paid", {"taken_credits": 1001}),
    ("what_is_free_has_no_credits", "offer", {"price_cents": 0}),
    ("what_is_free_has_no_credits", "offer", {"price_cents": 0, "monthly_credits": 0, "stripe_price_id": "price_1"}),
    ("one_free_offer", "offer", {"price_cents": 0, "monthly_credits": 0}),
    ("top_up_on_has_pack_and_card", "top-up", {"pack": None}),
    ("top_up_on_has_pack_and_card", "top-up", {"payment_method_id": ""}),
    ("top_up_on_has_pack_and_card", "top-up", {"off_reason": "Your card was declined."}),
    ("what_stripe_says_has_its_id", "subscription", {"stripe_id": ""}),
    ("what_stripe_says_has_its_id", "subscription", {"stripe_id": "", "status": "incomplete"}),
    ("one_account_per_customer", "customer", {"stripe_id": "cus_1"}),
]


@pytest.mark.parametrize(("name", "of", "changes"), WRONG)
def test_it_refuses_a_wrong_row(rows: dict[str, Row], name: str, of: str, changes: dict[str, Any]) -> None:
    if name == "what_is_free_has_no_credits":
        Offer.objects.filter(price_cents=0).delete()  # there may be but one free offer
    wrong = rows[of](**changes)

    assert broken(rows[of]()) == set()
    assert broken(wrong) == {name}
    with pytest.raises(IntegrityError, match=name), transaction.atomic():
        wrong.save(force_insert=True)


def broken(row: models.Model) -> set[str]:
    """Return the names of the constraints that a row does not keep."""
    names = set()
    for constraint in row._meta.constraints:
        try:
            constraint.validate(type(row), row)
        except ValidationError:
            names.add(constraint.name)
    return names


def test_accounts_that_stripe_does_not_know_yet_are_many(alice: Person, bob: Person) -> None:
    Customer.objects.create(user=alice.user)
    Customer.objects.create(user=bob.user)

    assert Customer.objects.filter(stripe_id="").count() == 2
