"""billing.purchases: one cart, one charge, and credits that follow the money."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError
from django.utils import timezone

from billing import customers, gateway, ledger, purchases, reconciliation, truth
from billing.models import Customer, Entry, Pack, Purchase
from billing.sale import NotForSale
from tests.billing.conftest import charge_of
from tests.conftest import Person
from tests.stripe_server import PretendStripe, cards

SITE = "http://testserver"


def entries(person: Person) -> list[tuple[str, int, int]]:
    found = Entry.objects.filter(wallet_id=person.user.pk).order_by("id")
    return list(found.values_list("kind", "credits", "owed_credits"))


def balanced() -> bool:
    return [*ledger.differences(), *reconciliation.differences()] == []


def test_buying_writes_the_purchase_down_and_opens_a_payment_page(
    stripe: PretendStripe, bob: Person, pack: Pack
) -> None:
    purchase = purchases.buy(bob.user, pack, SITE)

    session = stripe.world.all("checkout.session")[0]
    assert (purchase.status, purchase.credits, purchase.price_cents) == ("pending", 1000, 900)
    assert (purchase.session_id, purchase.session_url) == (session["id"], session["url"])
    assert session["client_reference_id"] == session["metadata"]["purchase"] == str(purchase.pk)
    assert session["customer"] == Customer.objects.get(user=bob.user).stripe_id
    assert session["success_url"] == f"{SITE}/billing/purchases/{purchase.pk}/"
    assert stripe.called("POST /v1/checkout/sessions")[0].idempotency_key == f"checkout-{purchase.pk}"
    assert bob.balance == 0


def test_buying_again_goes_back_to_the_same_page(stripe: PretendStripe, bob: Person, pack: Pack) -> None:
    first, second = (purchases.buy(bob.user, pack, SITE) for _ in range(2))

    assert first == second
    assert len(stripe.world.all("checkout.session")) == 1


def test_buying_after_paying_finds_the_payment_and_begins_nothing(bought: Purchase, bob: Person, pack: Pack) -> None:
    again = purchases.buy(bob.user, pack, SITE)

    assert (again, again.status) == (bought, "paid")
    assert bob.balance == 1000


def test_what_is_not_on_sale_can_not_be_bought(stripe: PretendStripe, bob: Person, pack: Pack) -> None:
    Pack.objects.update(is_active=False)
    pack.refresh_from_db()

    with pytest.raises(NotForSale):
        purchases.buy(bob.user, pack, SITE)

    assert not Purchase.objects.exists()


def test_a_new_price_closes_the_page_with_the_old_one(stripe: PretendStripe, bob: Person, pack: Pack) -> None:
    old = purchases.buy(bob.user, pack, SITE)
    Pack.objects.update(price_cents=1200)
    pack.refresh_from_db()

    new = purchases.buy(bob.user, pack, SITE)

    old.refresh_from_db()
    assert (old.status, new.status, new.price_cents) == ("expired", "pending", 1200)
    assert [session["status"] for session in stripe.world.all("checkout.session")] == ["expired", "open"]


def test_the_price_of_a_page_stays_when_it_was_paid_in_the_last_moment(
    stripe: PretendStripe, bought: Purchase, bob: Person, pack: Pack
) -> None:
    Pack.objects.update(credits=1)
    pack.refresh_from_db()

    again = purchases.buy(bob.user, pack, SITE)

    assert (again, again.status, bob.balance) == (bought, "paid", 1000)


def test_a_page_that_expired_is_replaced(stripe: PretendStripe, bob: Person, pack: Pack) -> None:
    old = purchases.buy(bob.user, pack, SITE)
    stripe.world.expire(old.session_id)

    new = purchases.buy(bob.user, pack, SITE)

    old.refresh_from_db()
    assert (old.status, new.status) == ("expired", "pending")


def test_a_crash_after_stripe_made_the_page_leads_to_the_same_page(
    stripe: PretendStripe, bob: Person, pack: Pack
) -> None:
    stripe.faults.lose("POST /v1/checkout/sessions")
    with pytest.raises(gateway.GatewayUnavailable):
        purchases.buy(bob.user, pack, SITE)

    purchase = purchases.buy(bob.user, pack, SITE)

    assert [session["id"] for session in stripe.world.all("checkout.session")] == [purchase.session_id]


def test_a_cart_that_never_got_a_page_is_given_up_before_stripe_forgets_its_key(
    stripe: PretendStripe, bob: Person, pack: Pack
) -> None:
    old = purchases.cart(bob.user, pack)
    Purchase.objects.update(created_at=timezone.now() - timedelta(hours=2))

    new = purchases.buy(bob.user, pack, SITE)

    old.refresh_from_db()
    assert (old.status, old != new) == ("expired", True)


def test_a_customer_deleted_at_stripe_is_made_anew(stripe: PretendStripe, bob: Person, pack: Pack) -> None:
    Customer.objects.create(user=bob.user, stripe_id="cus_gone")
    with pytest.raises(gateway.GatewayRefused):
        purchases.buy(bob.user, pack, SITE)

    assert purchases.buy(bob.user, pack, SITE).session_id
    assert customers.known_stripe_id(bob.user) == stripe.world.all("customer")[0]["id"]


def test_a_paid_page_gives_its_credits_once_however_often_it_is_read(bought: Purchase, bob: Person) -> None:
    for _ in range(3):
        purchases.read_again(bought)

    assert (bought.status, bought.paid_cents, bought.state) == ("paid", 900, "paid")
    assert bought.receipt_url
    assert entries(bob) == [("grant", 1000, 0)]
    assert balanced()


def test_a_declined_card_leaves_the_page_open_for_another(stripe: PretendStripe, bob: Person, pack: Pack) -> None:
    purchase = purchases.buy(bob.user, pack, SITE)
    with pytest.raises(Exception, match="declined"):
        stripe.world.pay(purchase.session_id, cards.DECLINED)

    purchases.read_again(purchase)
    assert purchase.status == "pending"

    stripe.world.pay(purchase.session_id)
    purchases.read_again(purchase)
    assert (purchase.status, bob.balance) == ("paid", 1000)


@pytest.mark.parametrize(("arrives", "status", "balance"), [(True, "paid", 1000), (False, "failed", 0)])
def test_a_bank_debit_counts_when_its_money_arrives(
    stripe: PretendStripe, bob: Person, pack: Pack, arrives: bool, status: str, balance: int
) -> None:
    purchase = purchases.buy(bob.user, pack, SITE)
    stripe.world.pay(purchase.session_id, cards.BANK_DEBIT)
    purchases.read_again(purchase)
    assert (purchase.status, bob.balance) == ("pending", 0)

    stripe.world.settle_bank_debit(purchase.session_id, paid=arrives)
    purchases.read_again(purchase)

    assert (purchase.status, bob.balance) == (status, balance)


@pytest.mark.parametrize(
    ("refunds", "taken"), [([900], 1000), ([1], 1), ([450, 450], 1000), ([300, 1], 334), ([100, 100, 100], 333)]
)
def test_refunds_take_their_part_of_the_credits_back(
    stripe: PretendStripe, bought: Purchase, bob: Person, refunds: list[int], taken: int
) -> None:
    purchases.read_again(bought)

    for cents in refunds:
        stripe.world.refund(charge_of(stripe), cents)
        purchases.read_again(bought)
        purchases.read_again(bought)

    assert (bought.taken_credits, bob.balance) == (taken, 1000 - taken)
    assert bought.refunded_cents == sum(refunds)
    assert balanced()


def test_a_refund_that_is_known_before_the_payment_nets_to_the_same(
    stripe: PretendStripe, bought: Purchase, bob: Person
) -> None:
    stripe.world.refund(charge_of(stripe), 450)

    purchases.read_again(bought)

    assert (bought.state, bob.balance) == ("partly refunded", 500)
    assert entries(bob) == [("grant", 1000, 0), ("take_back", -500, 0)]


def test_a_refund_of_spent_credits_is_owed_and_the_next_purchase_pays_it(
    stripe: PretendStripe, bought: Purchase, bob: Person, pack: Pack
) -> None:
    purchases.read_again(bought)
    ledger.hold(bob.user.pk, 700, "generation:1")
    ledger.settle("generation:1", 700)

    stripe.world.refund(charge_of(stripe))
    purchases.read_again(bought)
    assert (bob.balance, ledger.Wallet.objects.get(user=bob.user).owed) == (0, 700)

    second = purchases.buy(bob.user, pack, SITE)
    stripe.world.pay(second.session_id)
    purchases.read_again(second)
    assert (bob.balance, ledger.Wallet.objects.get(user=bob.user).owed) == (300, 0)
    assert balanced()


@pytest.mark.parametrize(("won", "balance", "state"), [(True, 1000, "paid"), (False, 0, "disputed")])
def test_a_dispute_takes_the_credits_and_returns_them_when_it_is_won(
    stripe: PretendStripe, bought: Purchase, bob: Person, won: bool, balance: int, state: str
) -> None:
    purchases.read_again(bought)
    dispute = stripe.world.dispute(charge_of(stripe))
    purchases.read_again(bought)
    assert (bob.balance, bought.state) == (0, "disputed")

    stripe.world.close_dispute(dispute["id"], won)
    purchases.read_again(bought)

    assert (bob.balance, bought.state) == (balance, state)
    assert balanced()


def test_a_dispute_after_a_refund_takes_no_more_than_was_bought(
    stripe: PretendStripe, bought: Purchase, bob: Person
) -> None:
    stripe.world.refund(charge_of(stripe), 450)
    stripe.world.dispute(charge_of(stripe), 900)

    purchases.read_again(bought)

    assert (bought.taken_credits, bob.balance) == (1000, 0)
    assert balanced()


@pytest.fixture
def second_payment(stripe: PretendStripe, bought: Purchase) -> gateway.Payment:
    """Another page for the purchase that is paid already, paid too."""
    purchases.read_again(bought)
    told = {"purchase": str(bought.pk)}
    line = {"price_data": {"currency": "usd", "unit_amount": 900, "product_data": {"name": "Again"}}, "quantity": 1}
    session = gateway.client().v1.checkout.sessions.create(
        {
            "mode": "payment",
            "metadata": told,
            "payment_intent_data": {"metadata": told},
            "line_items": [line],
            "success_url": SITE,
        }
    )
    stripe.world.pay(session.id)
    return gateway.read_session(session.id).payment


@pytest.mark.parametrize("known_by", ["page", "payment"])
def test_a_second_payment_for_a_purchase_brings_no_credits_and_is_said(
    stripe: PretendStripe,
    bought: Purchase,
    second_payment: gateway.Payment,
    bob: Person,
    known_by: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = Purchase.objects.values().get()
    session_id = stripe.world.all("checkout.session")[-1]["id"]
    reads = {
        "page": partial(purchases.read_session, session_id),
        "payment": partial(purchases.read_payment, second_payment.payment_intent_id),
    }

    said = [truth.settle(reads[known_by]) for _ in range(2)]
    stripe.world.refund(charge_of(stripe))
    said.append(truth.settle(reads[known_by]))

    assert said == [[f"paid a second time by {second_payment.payment_intent_id}: refund that payment at Stripe"]] * 3
    assert f"{bought.pk} was paid twice, by {second_payment.payment_intent_id} too." in caplog.messages
    assert Purchase.objects.values().get() == before
    assert entries(bob) == [("grant", 1000, 0)]
    assert balanced()


def test_a_second_payment_leaves_the_first_one_s_refund_to_be_taken_back(
    stripe: PretendStripe, bought: Purchase, second_payment: gateway.Payment, bob: Person
) -> None:
    truth.settle(partial(purchases.read_payment, second_payment.payment_intent_id))

    stripe.world.refund(bought.charge_id, 450)
    purchases.read_again(bought)

    assert (bought.taken_credits, bob.balance) == (500, 500)
    assert balanced()


def test_what_was_read_before_a_change_is_not_written_after_it(
    stripe: PretendStripe, bought: Purchase, bob: Person
) -> None:
    old = purchases.read_session(bought.session_id)
    assert old
    stripe.world.refund(charge_of(stripe), 450)
    purchases.read_again(bought)

    with pytest.raises(purchases.Stale):
        old()

    bought.refresh_from_db()
    assert (bought.refunded_cents, bob.balance) == (450, 500)


def test_what_stripe_said_before_another_process_first_knew_the_payment_is_asked_again(
    stripe: PretendStripe, bought: Purchase, bob: Person, once_read: Callable[..., list[Any]]
) -> None:
    def refund() -> None:
        stripe.world.refund(charge_of(stripe), 450)
        purchases.read_again(bought)

    answers = once_read("read_payment", refund)
    truth.settle(partial(purchases.read_payment, str(stripe.world.all("payment_intent")[-1]["id"])))

    bought.refresh_from_db()
    assert answers[0].refunded_cents == 0
    assert (bought.refunded_cents, bob.balance) == (450, 500)


def test_what_stripe_said_before_another_process_first_knew_the_page_is_asked_again(
    stripe: PretendStripe, bought: Purchase, bob: Person, once_read: Callable[..., list[Any]]
) -> None:
    settle = partial(truth.settle, partial(purchases.read_session, bought.session_id))
    Purchase.objects.update(session_id="")

    def refund() -> None:
        stripe.world.refund(charge_of(stripe), 450)
        settle()

    answers = once_read("read_session", refund)
    settle()

    bought.refresh_from_db()
    assert answers[0].payment.refunded_cents == 0
    assert (bought.refunded_cents, bob.balance) == (450, 500)


def test_the_database_refuses_a_second_cart_for_a_pack(bob: Person, pack: Pack) -> None:
    purchases.begin(bob.user, pack, Purchase.Kind.CHECKOUT)

    with pytest.raises(IntegrityError, match="one_cart_per_pack"):
        purchases.begin(bob.user, pack, Purchase.Kind.CHECKOUT)


def test_a_coupon_of_a_hundred_percent_buys_the_credits_for_nothing(
    stripe: PretendStripe, bob: Person, pack: Pack
) -> None:
    purchase = purchases.buy(bob.user, pack, SITE)
    payment = gateway.Payment("paid", currency="usd")

    with purchases.transaction.atomic():
        purchases.apply(purchase, payment)

    purchase.refresh_from_db()
    assert (purchase.status, purchase.paid_cents, bob.balance) == ("paid", 0, 1000)
