"""Writes down what is to be told, in the transaction in which it happens."""

import json
from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from accounts.models import User
from generation import queue
from generation.models import Generation
from generation.v3 import replies
from generation.webhooks import circuits
from generation.webhooks.models import Delivery, Endpoint, Event, SilencedUrl

GIVE_UP_AFTER = timedelta(days=3)
LOW_BALANCE_AGAIN = timedelta(hours=1)
SILENCED = "Not sent: this address answered 410 Gone under this key before."


def record(generation: Generation) -> None:
    """Write down that the generation reached its present state, for everybody who is to hear of it."""
    type = Event.Type(generation.status)
    endpoints = listening(generation.account_id, type)
    own_url = generation.webhook_url if generation.is_final else ""
    if not (endpoints or own_url):
        return
    event = create(generation.account_id, type, replies.webhook_body(generation), generation)
    for endpoint in endpoints:
        tell(event, endpoint.url, endpoint)
    if own_url:
        is_silenced = SilencedUrl.objects.filter(api_key=generation.api_key_id, url=own_url).exists()
        tell(event, own_url, answer=SILENCED if is_silenced else "")


def record_low_balance(account: User, before_credits: int, balance_credits: int) -> None:
    """Write down that the balance fell below what an endpoint wants to hear of; at most once an hour."""
    now = timezone.now()
    for endpoint in listening(account.pk, Event.Type.BALANCE_LOW):
        if not balance_credits < endpoint.low_balance_credits <= before_credits:
            continue
        quiet = Q(low_balance_told_at=None) | Q(low_balance_told_at__lte=now - LOW_BALANCE_AGAIN)
        if Endpoint.objects.filter(quiet, pk=endpoint.pk).update(low_balance_told_at=now):
            data = {"balance": balance_credits, "low_balance_credits": endpoint.low_balance_credits}
            tell(create(account.pk, Event.Type.BALANCE_LOW, data), endpoint.url, endpoint)


def ping(endpoint: Endpoint) -> Delivery:
    """Write down a test for one endpoint, in the caller's transaction."""
    event = create(endpoint.account_id, Event.Type.PING, {"endpoint": endpoint.url})
    return tell(event, endpoint.url, endpoint)


def listening(account_id: int, type: Event.Type) -> list[Endpoint]:
    endpoints = Endpoint.objects.filter(account=account_id, is_on=True).order_by("url")  # one order of locking hosts
    return [endpoint for endpoint in endpoints if type in endpoint.events]


def create(account_id: int, type: Event.Type, data: dict[str, Any], generation: Generation | None = None) -> Event:
    # One account's events are committed in the order of their ids, or a cursor could pass one that is not there yet.
    User.objects.select_for_update(no_key=True).get(pk=account_id)
    return Event.objects.create(
        account_id=account_id, generation=generation, type=type, data=json.dumps(data), created_at=timezone.now()
    )


def tell(event: Event, url: str, endpoint: Endpoint | None = None, answer: str = "") -> Delivery:
    """Add a delivery of the event; one with an `answer` already is given up and only shown."""
    now = timezone.now()
    delivery = Delivery.objects.create(
        account_id=event.account_id,
        event=event,
        generation=event.generation,
        endpoint=endpoint,
        url=url,
        host=circuits.host_of(url),
        state=Delivery.State.GIVEN_UP if answer else Delivery.State.PENDING,
        answer=answer,
        created_at=now,
        due_at=now,
        give_up_at=now + GIVE_UP_AFTER,
    )
    queue.ring_webhooks()
    return delivery


def body(delivery: Delivery) -> bytes:
    """Return what is sent, the same bytes on every attempt.

    The `webhook` of a request gets the dialect's answer alone, an endpoint learns also what happened and when.
    """
    event = delivery.event
    if delivery.endpoint_id is None:
        return event.data.encode()
    return envelope(event).encode()


def envelope(event: Event) -> str:
    """Return an event as endpoints and the list of events tell it; its data stays the very same characters."""
    return f'{json.dumps(event.head)[:-1]}, "data": {event.data}}}'
