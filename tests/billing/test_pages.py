"""/billing/…: what customers see of their money."""

import csv
import re
from collections.abc import Callable
from io import StringIO
from typing import Any
from urllib.parse import urlsplit

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client

from accounts.models import Plan
from billing import ledger, purchases, subscriptions, top_ups
from billing.models import Customer, Entry, Offer, Pack, Purchase, Subscription, TopUp, Wallet
from billing.views import entries
from config.streaming import STREAM
from tests.conftest import Person
from tests.stripe_server import PretendStripe, cards

LogIn = Callable[[Person], Client]
HTMX = {"HX-Request": "true"}
PAGES = ["", "buy/", "purchases/", "plan/", "top-up/", "history/"]


def text(answer: Any) -> str:
    """Return what a page says, without its tags."""
    body = re.sub(r"<(script|style|svg).*?</\1>", " ", answer.content.decode(), flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


@pytest.mark.parametrize("path", [*PAGES, "history.csv"])
def test_visitors_are_asked_to_log_in(db: None, path: str) -> None:
    answer = Client().get(f"/billing/{path}")

    assert answer.status_code == 302
    assert "login" in answer["Location"]


@pytest.mark.parametrize("path", PAGES)
def test_every_page_opens_for_a_new_account_and_carries_no_inline_style_or_script(
    stripe: PretendStripe, logged_in: LogIn, bob: Person, pack: Pack, studio: Offer, path: str
) -> None:
    answer = logged_in(bob).get(f"/billing/{path}")

    assert answer.status_code == 200
    assert not re.findall(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]* src=)", answer.content.decode())


@pytest.mark.parametrize(
    "path",
    [
        *PAGES,
        "history.csv",
        "purchases/{purchase}/",
        "purchases/{purchase}/state/",
        "purchases/{purchase}/canceled/",
        "plan/{subscription}/",
        "plan/{subscription}/state/",
    ],
)
def test_head_is_answered_as_get_is_without_a_body(
    logged_in: LogIn, bought: Purchase, subscribed: Subscription, bob: Person, path: str
) -> None:
    address = f"/billing/{path}".format(purchase=bought.pk, subscription=subscribed.pk)
    client = logged_in(bob)

    page, head = client.get(address), client.head(address)

    assert (head.status_code, head.content) == (page.status_code, b"")
    assert (head["Content-Type"], page.status_code) == (page["Content-Type"], 302 if "state/" in path else 200)


@pytest.mark.django_db(transaction=True)
def test_nothing_is_read_for_the_file_of_the_history_that_nobody_wants(alice: Person) -> None:
    client = AsyncClient()
    client.force_login(alice.user)

    answer = async_to_sync(client.head)("/billing/history.csv")

    assert (answer.status_code, answer["Content-Disposition"]) == (200, 'attachment; filename="credits.csv"')
    assert STREAM not in answer.asgi_request.scope


@pytest.mark.parametrize(("credits", "words"), [(1, "costs 1 credit."), (12, "costs 12 credits.")])
def test_those_who_buy_are_told_what_an_image_costs_here(
    logged_in: LogIn, bob: Person, settings: Any, credits: int, words: str
) -> None:
    settings.DEFAULT_IMAGE_CREDITS = credits

    told = f"An image of 512 × 512 from words at 31 steps {words}"
    assert told in text(Client().get("/"))
    assert told in text(logged_in(bob).get("/billing/buy/"))


@pytest.mark.parametrize("path", PAGES)
def test_without_stripe_every_page_works_and_says_whom_to_ask(
    logged_in: LogIn, bob: Person, pack: Pack, studio: Offer, settings: Any, path: str
) -> None:
    settings.SUPPORT_EMAIL = "help@example.org"

    answer = logged_in(bob).get(f"/billing/{path}")

    assert answer.status_code == 200
    if path in ("buy/", "plan/", "top-up/"):
        assert "Card payments are off" in text(answer)
        assert "Please write to help@example.org." in text(answer)


@pytest.mark.parametrize("path", ["buy/", "plan/", "top-up/", "portal/", "top-up/card/", "top-up/off/"])
def test_without_stripe_no_form_does_anything(
    logged_in: LogIn, bob: Person, pack: Pack, studio: Offer, path: str
) -> None:
    answer = logged_in(bob).post(f"/billing/{path}", {"pack": pack.pk, "offer": studio.pk})

    assert answer.status_code in (200, 302, 422)
    assert not Purchase.objects.exists()
    assert not Subscription.objects.exists()
    assert not Customer.objects.exists()


def test_the_overview_shows_the_balance_and_what_it_buys(logged_in: LogIn, alice: Person) -> None:
    ledger.hold(alice.user.pk, 30, "generation:1")

    shown = text(logged_in(alice).get("/billing/"))

    assert "Balance 970 credits: 970 images of 512 × 512" in shown
    assert "Set aside 30" in shown
    assert "Owed" not in shown


def test_the_overview_shows_what_is_owed(logged_in: LogIn, bob: Person) -> None:
    ledger.take_back(bob.user.pk, 70, "test:refund")

    assert "Owed 70 refunded after they were spent" in text(logged_in(bob).get("/billing/"))


def test_the_chart_says_what_was_spent(logged_in: LogIn, alice: Person) -> None:
    for k in range(3):
        ledger.hold(alice.user.pk, 10, f"generation:{k}")
        ledger.settle(f"generation:{k}", 7)

    page = logged_in(alice).get("/billing/").content.decode()

    assert "Credits spent on each of the last 30 days, 21 in all" in page
    assert (page.count('class="slot"'), page.count('class="series-1"')) == (30, 1)
    assert re.search(r"<title>\d+ \w{3}: 21</title>", page)


def test_buying_leads_to_stripe_s_page_and_back_to_the_new_balance(
    stripe: PretendStripe, logged_in: LogIn, bob: Person, pack: Pack
) -> None:
    client = logged_in(bob)

    answer = client.post("/billing/buy/", {"pack": pack.pk})
    purchase = Purchase.objects.get()
    assert (answer.status_code, answer["Location"]) == (303, purchase.session_url)

    stripe.world.pay(purchase.session_id)
    back = urlsplit(stripe.world.all("checkout.session")[0]["success_url"]).path
    waiting = client.get(back)
    assert "Waiting for the payment" in text(waiting)
    assert f'hx-get="{back}state/?looks=1"' in waiting.content.decode()

    stripe.webhooks.deliver_until_quiet()
    done = client.get(f"{back}state/?looks=1", headers=HTMX)
    assert "Paid: 1,000 credits" in text(done)
    assert "Your balance is 1,000 credits." in text(done)
    assert "hx-get" not in done.content.decode()


def test_the_waiting_page_asks_stripe_itself_when_no_event_comes(
    stripe: PretendStripe, logged_in: LogIn, bought: Purchase, bob: Person
) -> None:
    client = logged_in(bob)
    answers = [
        text(client.get(f"/billing/purchases/{bought.pk}/state/?looks={looks}", headers=HTMX)) for looks in range(1, 5)
    ]

    assert ["Paid" in answer for answer in answers] == [False, False, False, True]
    assert bob.balance == 1000


def test_the_waiting_page_waits_no_longer_than_a_minute_and_a_half(
    stripe: PretendStripe, logged_in: LogIn, bob: Person, pack: Pack
) -> None:
    purchase = purchases.buy(bob.user, pack, "http://testserver")
    stripe.world.pay(purchase.session_id, cards.BANK_DEBIT)

    answer = logged_in(bob).get(f"/billing/purchases/{purchase.pk}/state/?looks=90", headers=HTMX)

    assert "Some ways to pay take days" in text(answer)
    assert "hx-get" not in answer.content.decode()


def test_going_back_from_stripe_s_page_charges_nothing(
    stripe: PretendStripe, logged_in: LogIn, bob: Person, pack: Pack
) -> None:
    purchase = purchases.buy(bob.user, pack, "http://testserver")
    back = urlsplit(stripe.world.all("checkout.session")[0]["cancel_url"]).path

    answer = logged_in(bob).get(back)

    assert "You left before paying for 1,000 credits ($9.00)." in text(answer)
    assert purchase.session_url in answer.content.decode()


def test_while_stripe_does_not_answer_buying_says_so_and_charges_nothing(
    stripe: PretendStripe, logged_in: LogIn, bob: Person, pack: Pack
) -> None:
    stripe.faults.break_down("POST /v1", 9)

    answer = logged_in(bob).post("/billing/buy/", {"pack": pack.pk}, follow=True)

    assert answer.redirect_chain == [("/billing/", 302)]
    assert [str(message) for message in answer.context["messages"]] == [
        "Stripe does not answer at the moment. Nothing was charged; try again in a minute."
    ]


@pytest.mark.parametrize("pack", ["0", "", "x", "999999", "9" * 30, "-1"])
def test_a_pack_that_does_not_exist_is_not_found(
    stripe: PretendStripe, logged_in: LogIn, bob: Person, pack: str
) -> None:
    assert logged_in(bob).post("/billing/buy/", {"pack": pack}).status_code == 404


def test_a_pack_that_was_taken_off_sale_meanwhile_is_refused_in_words(
    stripe: PretendStripe, logged_in: LogIn, bob: Person, pack: Pack
) -> None:
    Pack.objects.update(is_active=False)

    answer = logged_in(bob).post("/billing/buy/", {"pack": pack.pk}, follow=True)

    assert [str(message) for message in answer.context["messages"]] == [
        "Medium is not on sale any more. Choose another pack."
    ]


def test_the_part_that_changes_is_no_page_of_its_own(
    logged_in: LogIn, bought: Purchase, subscribed: Subscription, bob: Person
) -> None:
    for path in (f"/billing/purchases/{bought.pk}/", f"/billing/plan/{subscribed.pk}/"):
        assert logged_in(bob).get(f"{path}state/")["Location"] == path


@pytest.mark.parametrize("path", ["", "state/", "canceled/"])
def test_another_account_s_purchase_is_not_found(logged_in: LogIn, bought: Purchase, alice: Person, path: str) -> None:
    assert logged_in(alice).get(f"/billing/purchases/{bought.pk}/{path}").status_code == 404


@pytest.mark.parametrize("path", ["", "state/"])
def test_another_account_s_subscription_is_not_found(
    logged_in: LogIn, subscribed: Subscription, alice: Person, path: str
) -> None:
    assert logged_in(alice).get(f"/billing/plan/{subscribed.pk}/{path}").status_code == 404


def test_receipts_lead_to_stripe(stripe: PretendStripe, logged_in: LogIn, bought: Purchase, bob: Person) -> None:
    stripe.webhooks.deliver_until_quiet()
    bought.refresh_from_db()

    page = logged_in(bob).get("/billing/purchases/")

    assert f'href="{bought.receipt_url}"' in page.content.decode()
    assert "paid 1,000 $9.00 Receipt" in text(page)


def test_subscribing_leads_to_stripe_s_page_and_back_to_the_plan(
    stripe: PretendStripe, logged_in: LogIn, bob: Person, studio: Offer
) -> None:
    client = logged_in(bob)

    answer = client.post("/billing/plan/", {"offer": studio.pk})
    subscription = Subscription.objects.get()
    assert (answer.status_code, answer["Location"]) == (303, subscription.session_url)

    stripe.world.pay(subscription.session_id)
    back = urlsplit(stripe.world.all("checkout.session")[0]["success_url"]).path
    assert "Waiting for the payment" in text(client.get(back))
    stripe.webhooks.deliver_until_quiet()
    assert "You are on the Studio plan" in text(client.get(f"{back}state/?looks=1", headers=HTMX))
    shown = text(client.get("/billing/plan/"))
    assert "Change plan, card, or cancel" in shown
    assert "400 credits every month" in shown


def test_the_plan_is_changed_in_stripe_s_portal(
    stripe: PretendStripe, logged_in: LogIn, subscribed: Subscription, bob: Person
) -> None:
    answer = logged_in(bob).post("/billing/portal/")

    assert answer.status_code == 303
    assert answer["Location"].startswith(f"{stripe.url}/portal/")


def test_a_plan_that_could_not_be_paid_is_said_on_the_pages(
    stripe: PretendStripe, logged_in: LogIn, subscribed: Subscription, bob: Person
) -> None:
    stripe.world.change_card(stripe.world.all("customer")[0]["id"], cards.DECLINED)
    stripe.world.renew(stripe.world.all("subscription")[0]["id"])
    stripe.webhooks.deliver_until_quiet()

    for path in ("", "plan/"):
        assert "The Studio plan could not be paid" in text(logged_in(bob).get(f"/billing/{path}")).replace(
            "Your", "The"
        )


def test_a_second_subscription_is_refused_in_words(
    stripe: PretendStripe, logged_in: LogIn, subscribed: Subscription, bob: Person, studio: Offer
) -> None:
    stripe.webhooks.deliver_until_quiet()

    answer = logged_in(bob).post("/billing/plan/", {"offer": studio.pk}, follow=True)

    assert [str(message) for message in answer.context["messages"]] == [
        "You have a subscription. Change it on Stripe's page, below."
    ]


def save_card(stripe: PretendStripe, client: Client) -> None:
    page = client.post("/billing/top-up/card/")["Location"]
    stripe.world.pay(page.rpartition("/")[2])


def top_up_form(client: Client, offered: Pack, **changes: Any) -> Any:
    card = re.search(r'value="(pm_\w+)"', client.get("/billing/top-up/").content.decode())
    assert card
    fields = {"threshold_credits": 100, "pack": offered.pk, "most_a_day": 2, "card": card[1]}
    return client.post("/billing/top-up/", fields | changes)


def test_automatic_top_up_is_turned_on_with_a_saved_card_and_off_again(
    stripe: PretendStripe, logged_in: LogIn, bob: Person, pack: Pack
) -> None:
    client = logged_in(bob)
    assert "Save a card first" in text(client.get("/billing/top-up/"))

    save_card(stripe, client)
    assert top_up_form(client, pack).status_code == 302

    chosen = TopUp.objects.get()
    assert (chosen.is_on, chosen.threshold_credits, chosen.pack, chosen.most_a_day) == (True, 100, pack, 2)
    assert chosen.card == "Visa ending in 4242"
    assert "It is on" in text(client.get("/billing/top-up/"))

    client.post("/billing/top-up/off/")
    assert not TopUp.objects.get().is_on


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"threshold_credits": 0}, "Ensure this value is greater than or equal to 1."),
        ({"threshold_credits": "many"}, "Enter a whole number."),
        ({"threshold_credits": 1001}, "This pack would not lift you over 1,001 credits"),
        ({"most_a_day": 11}, "Ensure this value is less than or equal to 10."),
        ({"pack": 0}, "Select a valid choice."),
        ({"card": "pm_of_somebody_else"}, "Select a valid choice."),
    ],
)
def test_a_choice_that_can_not_be_is_refused_beside_its_field(
    stripe: PretendStripe, logged_in: LogIn, bob: Person, pack: Pack, changes: dict[str, Any], words: str
) -> None:
    client = logged_in(bob)
    save_card(stripe, client)

    answer = top_up_form(client, pack, **changes)

    assert answer.status_code == 422
    assert words in text(answer)
    assert not TopUp.objects.exists()


def test_a_top_up_that_was_turned_off_says_why(logged_in: LogIn, stripe: PretendStripe, bob: Person) -> None:
    top_ups.switch_off(bob.user, "Your card was declined.")
    TopUp.objects.create(user=bob.user, off_reason="Your card was declined.")

    for path in ("", "top-up/"):
        assert "turned off: Your card was declined." in text(logged_in(bob).get(f"/billing/{path}"))


def test_the_history_shows_every_movement_with_its_cause_and_the_balance_after_it(
    stripe: PretendStripe, logged_in: LogIn, bought: Purchase, bob: Person
) -> None:
    stripe.webhooks.deliver_until_quiet()
    ledger.hold(bob.user.pk, 30, "generation:17")
    ledger.settle("generation:17", 20)

    page = logged_in(bob).get("/billing/history/")

    rows = [row.replace(" ,", ",") for row in re.findall(r"<tr>.*?</tr>", page.content.decode(), flags=re.S)[1:]]
    cells = [
        [re.sub(r"<[^>]+>|\s+", " ", cell).strip() for cell in re.findall(r"<td.*?</td>", row, re.S)] for row in rows
    ]
    assert [row[1:] for row in cells] == [
        ["Given back", "Generation 17", "+10", "-10", "980"],
        ["Spent", "Generation 17", "0", "-20", "970"],
        ["Set aside", "Generation 17", "-30", "+30", "970"],
        ["Credits added", "Pack", "+1,000", "", "1,000"],
    ]
    assert page.content.count(b'href="/history/17/"') == 3
    assert f'href="/billing/purchases/{bought.pk}/"' in page.content.decode()


def test_the_history_is_filtered_by_month(logged_in: LogIn, alice: Person) -> None:
    client = logged_in(alice)
    month = Entry.objects.get().created_at.strftime("%Y-%m")

    assert b'<td class="number">1,000</td>' in client.get(f"/billing/history/?month={month}").content
    assert "Nothing in January 2020" in text(client.get("/billing/history/?month=2020-01"))
    for nonsense in ("2020-13", "x", "0001-01", "9999-12", "2020-1\x00"):
        assert client.get("/billing/history/", {"month": nonsense}).status_code == 200


def test_older_entries_are_shown_on_request_with_the_right_balances(logged_in: LogIn, bob: Person) -> None:
    for k in range(60):
        ledger.grant(bob.user.pk, 1, f"test:{k}")
    client = logged_in(bob)

    first = client.get("/billing/history/").content.decode()
    address = re.search(r'hx-get="([^"]+)"', first)
    assert address
    second = client.get(address[1].replace("&amp;", "&"), headers=HTMX).content.decode()

    balances = re.findall(r'<td class="number">(\d+)</td>', first + second)
    assert balances == [str(k) for k in range(60, 0, -1)]
    assert "<html" not in second


def test_the_history_is_downloaded_as_csv_without_formulas(logged_in: LogIn, alice: Person, bob: Person) -> None:
    ledger.grant(alice.user.pk, 5, "=cmd", "+1")
    ledger.grant(bob.user.pk, 9, "test:bob")

    answer = logged_in(alice).get("/billing/history.csv")

    rows = list(csv.reader(StringIO(b"".join(answer).decode())))
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert rows[0] == ["time", "kind", "credits", "held_credits", "owed_credits", "cause", "note"]
    assert [row[1:] for row in rows[1:]] == [
        ["grant", "1000", "0", "0", "test:alice", ""],
        ["grant", "5", "0", "0", "'=cmd", "'+1"],
    ]


@pytest.mark.django_db(transaction=True)
def test_a_long_history_is_downloaded_in_pieces_after_the_view_is_done(
    alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    for k in range(6):
        ledger.grant((alice, bob)[k % 2].user.pk, 1, f"test:{k}")
    monkeypatch.setattr(entries, "PIECE", 2)
    client = AsyncClient()
    client.force_login(alice.user)

    async def download() -> tuple[Any, list[bytes]]:
        answer = await client.get("/billing/history.csv")
        return answer, [piece async for piece in answer.asgi_request.scope[STREAM]()]

    answer, pieces = async_to_sync(download)()  # whose views run here

    assert (answer.content, answer["Content-Disposition"]) == (b"", 'attachment; filename="credits.csv"')
    rows = [list(csv.reader(StringIO(piece.decode()))) for piece in pieces]
    assert [[row[5] for row in piece] for piece in rows] == [
        ["cause"],
        ["test:alice", "test:0"],
        ["test:2", "test:4"],
    ]


def test_the_pages_of_an_account_without_stripe_s_customer_any_more_still_open(
    stripe: PretendStripe, logged_in: LogIn, bob: Person, pack: Pack
) -> None:
    Customer.objects.create(user=bob.user, stripe_id="cus_gone")

    assert "Save a card first" in text(logged_in(bob).get("/billing/top-up/"))
    assert Customer.objects.get().stripe_id == ""


def test_the_free_plan_is_shown_beside_the_others(
    stripe: PretendStripe, logged_in: LogIn, bob: Person, studio: Offer
) -> None:
    Plan.objects.filter(name="Free").update(requests_per_minute=10, images_per_month=50)

    shown = text(logged_in(bob).get("/billing/plan/"))

    assert "Free Free 10 requests a minute 50 images a month" in shown
    assert "Studio $10.00 a month 400 credits every month" in shown
    assert subscriptions.current(bob.user) is None
    assert Wallet.objects.get(user=bob.user).owed == 0


def test_where_tax_is_due_nothing_is_charged_automatically(
    stripe: PretendStripe, logged_in: LogIn, bob: Person, pack: Pack, settings: Any
) -> None:
    client = logged_in(bob)
    save_card(stripe, client)
    top_up_form(client, pack)
    settings.STRIPE_TAX = True

    top_ups.run(bob.user.pk)

    assert stripe.charged_cents == []
    assert "only Stripe's page can work that out" in text(client.get("/billing/top-up/")).replace("&#x27;", "'")


def test_taxes_and_coupons_are_asked_for_where_the_settings_say_so(
    stripe: PretendStripe, logged_in: LogIn, bob: Person, pack: Pack, settings: Any
) -> None:
    settings.STRIPE_TAX = settings.STRIPE_PROMOTION_CODES = True

    logged_in(bob).post("/billing/buy/", {"pack": pack.pk})

    session = stripe.world.all("checkout.session")[0]
    assert session["automatic_tax"]["enabled"] is True
    assert session["allow_promotion_codes"] is True
    stripe.world.pay(session["id"])
    stripe.webhooks.deliver_until_quiet()
    purchase = Purchase.objects.get()
    assert (purchase.price, purchase.paid, bob.balance) == ("$9.00", "$10.80", 1000)
    assert "$10.80 with tax and coupons" in text(logged_in(bob).get(f"/billing/purchases/{purchase.pk}/"))
