"""What account holders do with their webhooks: add addresses, try them, and have sent again what failed."""

from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from accounts.models import User
from generation import queue
from generation.webhooks import outbox
from generation.webhooks.models import Delivery, Endpoint, Event, SilencedUrl

MOST_ENDPOINTS = 20  # of an account
MOST_EVENTS = 100  # of one page


class TooManyEndpoints(Exception):
    """The account has as many addresses as one may have."""


class AddressTaken(Exception):
    """The account has another endpoint with this address."""


@transaction.atomic
def add(endpoint: Endpoint) -> None:
    """Save a new endpoint.

    Raises:
        TooManyEndpoints, AddressTaken: nothing was written.
    """
    User.objects.select_for_update(no_key=True).get(pk=endpoint.account_id)
    if Endpoint.objects.filter(account=endpoint.account_id).count() >= MOST_ENDPOINTS:
        raise TooManyEndpoints
    save(endpoint)


@transaction.atomic
def change(endpoint: Endpoint) -> None:
    """Save an endpoint that was changed, and switch it on or off.

    Raises:
        AddressTaken, Endpoint.DoesNotExist: nothing was written.
    """
    Endpoint.objects.select_for_update(no_key=True).get(pk=endpoint.pk)  # or one that was deleted would be added again
    save(endpoint)
    switch(endpoint, endpoint.is_on)


def save(endpoint: Endpoint) -> None:
    try:
        with transaction.atomic():
            endpoint.save()
    except IntegrityError:  # forms look before, but two may look at once
        raise AddressTaken from None


@transaction.atomic
def ping(endpoint: Endpoint) -> Delivery:
    """Send a test."""
    return outbox.ping(endpoint)


def switch(endpoint: Endpoint, is_on: bool) -> None:
    """Switch an endpoint on or off; what waits for it waits until it is on again, or too old."""
    Endpoint.objects.filter(pk=endpoint.pk).update(is_on=is_on, off_reason="")
    queue.ring_webhooks()


def delete(endpoint: Endpoint) -> None:
    """Remove an endpoint with its deliveries."""
    switch(endpoint, False)  # waits for what tells it something at this moment; nothing does from then on
    endpoint.delete()


def resend(deliveries: QuerySet[Delivery], since: datetime | None = None) -> int:
    """Try again, for another three days, those of the deliveries that were given up; return how many.

    What was answered with a 2xx stays delivered: it is never sent again.
    """
    now = timezone.now()
    failed = deliveries.filter(state=Delivery.State.GIVEN_UP)
    if since:
        failed = failed.filter(created_at__gte=since)
    count = failed.update(
        state=Delivery.State.PENDING,
        due_at=now,
        give_up_at=now + outbox.GIVE_UP_AFTER,
        attempts_before_resend=F("attempts"),
    )
    queue.ring_webhooks()
    return count


def hear_again(silenced: SilencedUrl) -> None:
    """Call an address again that had answered 410 Gone."""
    silenced.delete()


def events_after(account: User, cursor: int, most: int) -> list[Event]:
    """Return the account's next events after a cursor, which is an event's id; the oldest first."""
    return list(Event.objects.filter(account=account, pk__gt=cursor, is_forgotten=False).order_by("pk")[:most])
