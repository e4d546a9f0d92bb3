"""Writes down what is to be told, in the transaction in which it happens."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from accounts.models import User
from billing import ledger
from config import sql
from generation import queue
from generation.models import Generation
from generation.v3 import replies
from generation.webhooks import circuits
from generation.webhooks.models import Delivery, Endpoint, Event, SilencedUrl

GIVE_UP_AFTER = timedelta(days=3)
LOW_BALANCE_AGAIN = timedelta(hours=1)
BATCH = 500
ENDPOINTS = "SELECT * FROM generation_endpoint e WHERE account_id = %s AND is_on ORDER BY url"
SILENCED = "Not sent: this address answered 410 Gone under this key before."


@dataclass(frozen=True)
class Listener:
    """Who is told: an endpoint, or a request's own address; with an `answer` already it is only shown, as given up."""

    url: str
    endpoint: Endpoint | None = None
    answer: str = ""


def record(generation: Generation) -> None:
    """Write down that the generation reached its present state, for everybody who is to hear of it."""
    record_state(generation, endpoints_of(generation.account_id))


def record_submission(generation: Generation) -> None:
    """Write down that the generation was queued, and that its credits, just set aside, made the balance low."""
    endpoints = endpoints_of(generation.account_id)
    record_state(generation, endpoints)
    record_low_balance(generation, endpoints)


def record_state(generation: Generation, endpoints: Sequence[Endpoint]) -> None:
    type = Event.Type(generation.status)
    endpoints = [endpoint for endpoint in endpoints if type in endpoint.events]
    own_url = generation.webhook_url if generation.is_final else ""
    if not (endpoints or own_url):
        return
    event = create(generation.account_id, type, replies.webhook_body(generation), generation)
    listeners = [Listener(endpoint.url, endpoint) for endpoint in endpoints]
    if own_url:
        is_silenced = SilencedUrl.objects.filter(api_key=generation.api_key_id, url=own_url).exists()
        listeners.append(Listener(own_url, answer=SILENCED if is_silenced else ""))
    tell(event, listeners)


def record_low_balance(generation: Generation, endpoints: Sequence[Endpoint]) -> None:
    """Write down that the balance fell below what an endpoint wants to hear of; at most once an hour."""
    endpoints = [endpoint for endpoint in endpoints if Event.Type.BALANCE_LOW in endpoint.events]
    if not endpoints:
        return
    now, balance_credits = timezone.now(), ledger.balance(generation.account_id)
    for endpoint in endpoints:
        if not balance_credits < endpoint.low_balance_credits <= balance_credits + generation.held_credits:
            continue
        quiet = Q(low_balance_told_at=None) | Q(low_balance_told_at__lte=now - LOW_BALANCE_AGAIN)
        if Endpoint.objects.filter(quiet, pk=endpoint.pk).update(low_balance_told_at=now):
            data = {"balance": balance_credits, "low_balance_credits": endpoint.low_balance_credits}
            tell(create(generation.account_id, Event.Type.BALANCE_LOW, data), [Listener(endpoint.url, endpoint)])


def ping(endpoint: Endpoint) -> Delivery:
    """Write down a test for one endpoint, in the caller's transaction."""
    event = create(endpoint.account_id, Event.Type.PING, {"endpoint": endpoint.url})
    return tell(event, [Listener(endpoint.url, endpoint)])[0]


def endpoints_of(account_id: int) -> list[Endpoint]:
    # Locked, so that none is deleted before the deliveries to it are there.
    return list(Endpoint.objects.raw(ENDPOINTS + sql.locking("e"), [account_id]))


def create(account_id: int, type: Event.Type, data: dict[str, Any], generation: Generation | None = None) -> Event:
    # One account's events are committed in the order of their ids, or a cursor could pass one that is not there yet.
    User.objects.select_for_update(no_key=True).get(pk=account_id)
    return Event.objects.create(
        account_id=account_id, generation=generation, type=type, data=json.dumps(data), created_at=timezone.now()
    )


def tell(event: Event, listeners: Sequence[Listener]) -> list[Delivery]:
    """Add a delivery of the event to each of them."""
    now, hosts = timezone.now(), circuits.hosts_of(listener.url for listener in listeners)
    deliveries = Delivery.objects.bulk_create(
        Delivery(
            account_id=event.account_id,
            event=event,
            generation=event.generation,
            endpoint=listener.endpoint,
            url=listener.url,
            host=hosts[listener.url],
            state=Delivery.State.GIVEN_UP if listener.answer else Delivery.State.PENDING,
            answer=listener.answer,
            created_at=now,
            due_at=now,
            give_up_at=now + GIVE_UP_AFTER,
        )
        for listener in listeners
    )
    queue.ring_webhooks()
    return deliveries


def forget(generations: Iterable[Generation]) -> None:
    """Delete what happened to these, in the caller's transaction; what is still to be sent is sent before it goes."""
    events = Event.objects.filter(generation__in=generations)
    events.update(is_forgotten=True)
    Delivery.objects.filter(event__in=events).exclude(state=Delivery.State.PENDING).delete()
    told(events).delete()


def delete_told() -> None:
    """Delete the forgotten events of which nothing is to be sent any more."""
    pks = told(Event.objects.filter(is_forgotten=True)).values_list("pk", flat=True)
    Event.objects.filter(pk__in=list(pks[:BATCH])).delete()


def told(events: QuerySet[Event]) -> QuerySet[Event]:
    pending = Delivery.objects.filter(event=OuterRef("pk"), state=Delivery.State.PENDING)
    return events.filter(~Exists(pending))


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
