"""Tells a caller's server that its generation is over: at least once, signed, and never again after a 2xx.

The delivery is a row written in the transaction that ends the generation; its payload is frozen then. An attempt takes
the row by moving `due_at` to the next try, so a worker that dies half-way costs one delay and no delivery.
Source of headers and signature: https://www.standardwebhooks.com
"""

import random
from datetime import timedelta

from django.conf import settings
from django.db.models import F
from django.utils import timezone
from standardwebhooks.webhooks import Webhook

from generation import fetch, queue
from generation.models import Delivery, Generation
from generation.v3 import replies

TIMEOUT_SECONDS = 15
DELAYS_SECONDS = [10, 60, 300, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 24 * 3600, 24 * 3600]  # three days in all
PASSING_STATUSES = {408, 425, 429}  # with 5xx: worth another try; every other 4xx is final
BATCH = 500


def record(generation: Generation) -> None:
    """Write down the delivery in the caller's transaction, if the request named a webhook."""
    if generation.webhook_url:
        delivery = Delivery.objects.create(
            generation=generation, url=generation.webhook_url, payload=replies.webhook_body(generation)
        )
        queue.ring_webhook(delivery.pk)


def ring_due() -> None:
    """Ring for every delivery that is due."""
    due = Delivery.objects.filter(state=Delivery.State.PENDING, due_at__lte=timezone.now())
    for pk in due.values_list("pk", flat=True)[:BATCH]:
        queue.ring_webhook(pk)


def deliver(pk: int) -> None:
    """Make one attempt, if the delivery is due and nobody else makes it."""
    now = timezone.now()
    delivery = Delivery.objects.select_related("generation__account").get(pk=pk)
    # Counted from the end of the slowest answer, so that one attempt is over before the next begins.
    retry_at = now + timedelta(seconds=TIMEOUT_SECONDS + delay_seconds(delivery.attempts))
    taken = Delivery.objects.filter(
        pk=pk, state=Delivery.State.PENDING, due_at__lte=now, attempts=delivery.attempts
    ).update(attempts=F("attempts") + 1, due_at=retry_at)
    if not taken:
        return
    state, answer = send(delivery)
    if state == Delivery.State.PENDING and delivery.attempts >= len(DELAYS_SECONDS):
        state = Delivery.State.GIVEN_UP
    Delivery.objects.filter(pk=pk, state=Delivery.State.PENDING).update(state=state, answer=answer[:200])


def delay_seconds(attempts: int) -> float:
    """Return the wait before the next try, spread by a fifth so that a receiver's callers do not all return at once."""
    delay = DELAYS_SECONDS[min(attempts, len(DELAYS_SECONDS) - 1)]
    return delay * random.uniform(1, 1.2)


def send(delivery: Delivery) -> tuple[Delivery.State, str]:
    """POST the payload; return the new state and what the receiver said."""
    try:
        answer = fetch.post(
            delivery.url,
            bytes(delivery.payload),
            headers(delivery),
            timeout_seconds=TIMEOUT_SECONDS,
            allowed_hosts=settings.FETCH_ALLOWED_HOSTS,
        )
    except fetch.FetchRefused as refusal:
        return (Delivery.State.PENDING if refusal.retryable else Delivery.State.GIVEN_UP), str(refusal)
    if 200 <= answer.status < 300:
        return Delivery.State.DELIVERED, str(answer.status)
    passing = answer.status >= 500 or answer.status in PASSING_STATUSES
    return (Delivery.State.PENDING if passing else Delivery.State.GIVEN_UP), str(answer.status)


def headers(delivery: Delivery) -> dict[str, str]:
    """Return the headers of one attempt; the signature covers `id.timestamp.body`."""
    now = timezone.now()
    message = f"msg_{delivery.event.hex}"
    signature = Webhook(delivery.generation.account.webhook_secret).sign(message, now, bytes(delivery.payload).decode())
    return {
        "Content-Type": "application/json",
        "webhook-id": message,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signature,
    }
