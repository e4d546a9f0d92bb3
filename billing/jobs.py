"""What io workers are asked to do for billing: each job can be done twice without harm."""

import logging
from datetime import timedelta

from django.utils import timezone

from billing import events, gateway, notices, queue, reconciliation, top_ups

logger = logging.getLogger(__name__)

NIGHTLY_DAYS = 4  # longer than Stripe repeats an event that was not taken


def top_up(user_id: int) -> None:
    """Charge the saved card of an account that is under its line."""
    top_ups.run(user_id)


def send_notice(pk: int) -> None:
    """Send an e-mail that is due."""
    notices.send(pk)


def sweep() -> None:
    """Begin again what a lost message or a dead worker left behind (called by the clock)."""
    for pk in notices.due():
        queue.enqueue("send_notice", pk)
    if gateway.is_on():
        for user_id in top_ups.due():
            queue.enqueue("top_up", user_id)


def reconcile() -> None:
    """Repair what our ledger lacks (called by the clock every night)."""
    if not gateway.is_on():
        return
    for finding in reconciliation.reconcile(timezone.now() - timedelta(days=NIGHTLY_DAYS), repair=True):
        logger.warning("Reconciliation of %s: %s", finding.about, finding.words)


def expire() -> None:
    """Remove what is kept no longer (called by the clock every night)."""
    events.forget_old()
