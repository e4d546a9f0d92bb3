"""From one of Stripe's objects to what is to be done about it here, for events and for the reconciliation."""

from billing import gateway, purchases, subscriptions
from billing.models import Purchase
from billing.truth import Change


def read_session(session_id: str) -> Change | None:
    """Read a payment page: it belongs to a purchase, to a subscription that begins, or to nobody here."""
    session = gateway.read_session(session_id)
    if session.mode == "payment":
        return purchases.read_session(session_id)
    if session.mode == "subscription":
        return subscriptions.change_of_session(session)
    return None


def read_payment(payment_intent_id: str) -> Change | None:
    """Read a payment: it belongs to a purchase of ours or to an invoice, of which Stripe keeps the account."""
    month = Purchase.objects.filter(payment_intent_id=payment_intent_id, kind=Purchase.Kind.MONTH).first()
    if month:
        return subscriptions.read_invoice(month.invoice_id)
    change = purchases.read_payment(payment_intent_id)
    if change is None and (invoice_id := gateway.invoice_of_payment(payment_intent_id)):
        return subscriptions.read_invoice(invoice_id)
    return change


def read_charge(charge_id: str) -> Change | None:
    payment_intent_id = gateway.payment_of_charge(charge_id)
    return read_payment(payment_intent_id) if payment_intent_id else None


read_invoice = subscriptions.read_invoice
read_subscription = subscriptions.read
