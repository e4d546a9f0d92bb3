"""What happens outside of the API: customers pay, banks refuse and dispute, money arrives late, time passes."""

from typing import Any

from tests.stripe_server import cards, checkout, completion, disputes, payments, refunds, subscriptions
from tests.stripe_server.account import Account, Object, public


class World:
    """Customers, banks, staff at Stripe's dashboard, and the clock. Ids in, copies of objects out."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def pay(self, session: str, card: str = cards.PAYS, **typed: Any) -> Object:
        """Press the button of the pay page.

        Raises:
            Refused: with the words that the page shows.
        """
        with self.account.lock:
            found = self.account.get("checkout.session", session)
            completion.pay(self.account, found, card, **typed)
            return public(found)

    def settle_bank_debit(self, session: str, paid: bool = True) -> None:
        with self.account.lock:
            completion.settle_bank_debit(self.account, self.account.get("checkout.session", session), paid)

    def expire(self, session: str) -> None:
        with self.account.lock:
            checkout.expire(self.account, self.account.get("checkout.session", session))

    def authenticate(self, intent: str) -> Object:
        """Let the owner of the card approve a payment that requires it."""
        with self.account.lock:
            found = self.account.get("payment_intent", intent)
            method = self.account.objects[found["payment_method"]]
            return public(payments.confirm(self.account, found, method))

    def change_card(self, customer: str, number: str) -> None:
        """Let every saved card of the customer behave like that of `number` from now on."""
        with self.account.lock:
            for method in self.account.all("payment_method"):
                if method["customer"] == customer:
                    self.account.numbers[method["id"]] = number

    def refund(self, charge: str, amount: int | None = None) -> Object:
        """Refund in Stripe's dashboard."""
        with self.account.lock:
            return public(refunds.create(self.account, self.account.get("charge", charge), amount))

    def dispute(self, charge: str, amount: int | None = None) -> Object:
        with self.account.lock:
            return public(disputes.create(self.account, self.account.get("charge", charge), amount))

    def close_dispute(self, dispute: str, won: bool) -> None:
        with self.account.lock:
            disputes.close(self.account, self.account.get("dispute", dispute), won)

    def renew(self, subscription: str) -> Object:
        """Let a period end; return the invoice of the next, or the subscription if it ended."""
        with self.account.lock:
            return public(subscriptions.renew(self.account, self.account.get("subscription", subscription)))

    def pay_invoice(self, invoice: str) -> None:
        """Try to pay an open invoice with the card that it falls to."""
        with self.account.lock:
            subscriptions.pay(self.account, self.account.get("invoice", invoice))

    def change_plan(self, subscription: str, price: str) -> None:
        """Choose another price in the portal."""
        with self.account.lock:
            found = self.account.get("subscription", subscription)
            subscriptions.change_price(self.account, found, self.account.get("price", price))

    def cancel(self, subscription: str, at_period_end: bool = False) -> None:
        with self.account.lock:
            found = self.account.get("subscription", subscription)
            if at_period_end:
                subscriptions.cancel_at_period_end(self.account, found, True)
            else:
                subscriptions.end(self.account, found, "cancellation_requested")

    def wait(self, seconds: int) -> None:
        """Move Stripe's clock; the machine's stays."""
        with self.account.lock:
            self.account.state["ahead_seconds"] += seconds

    def all(self, kind: str) -> list[Object]:
        """Return every object of a kind, oldest first: the truth that a shop's books are compared with."""
        with self.account.lock:
            return [public(thing) for thing in self.account.all(kind)]
