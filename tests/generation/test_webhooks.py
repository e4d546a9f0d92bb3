"""generation.webhooks: told once, signed, in order, and retried for as long as it makes sense."""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise
from socket import socket
from typing import Any
from urllib.parse import quote

import pytest
from django.db import IntegrityError, OperationalError, close_old_connections, connection, transaction
from django.utils import timezone
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from accounts.models import ApiKey
from billing import ledger
from generation import services
from generation.models import Attempt, Delivery, Endpoint, Event, Generation, Host, SilencedUrl
from generation.webhooks import listening, outbox, sending
from tests.conftest import Person
from tests.generation.conftest import Submit
from tests.generation.hostile_server import HostileServer, answer, serving
from tests.generation.webhook_clock import NOON, Clock, is_signed, send_due, send_for, split, told
from tests.racing import race
from tests.services import free_port

PENDING, DELIVERED, GIVEN_UP = Delivery.State.PENDING, Delivery.State.DELIVERED, Delivery.State.GIVEN_UP
ALL = [type.value for type in Event.Type]
AT_RANDOM = "".join(map(chr, random.Random(0).choices(range(0x4E00, 0x9FA6), k=2000)))  # nothing to compress


@pytest.fixture
def receiver(settings: Any) -> Iterator[HostileServer]:
    with serving() as server:
        settings.FETCH_ALLOWED_HOSTS = frozenset({server.host})
        yield server


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timezone, "now", clock)
    return clock


@pytest.fixture
def deliver(submit: Submit) -> Callable[..., Delivery]:
    """Return a function that ends a generation with this webhook and makes the first attempt."""

    def run(url: str, track_id: Any = None) -> Delivery:
        generation = submit(webhook_url=url, track_id=track_id)
        services.cancel(generation.pk)
        return attempt(Delivery.objects.get(generation=generation))

    return run


@pytest.fixture
def listen(alice: Person) -> Callable[..., Endpoint]:
    """Return a function that adds an endpoint of alice's."""

    def make(url: str, events: list[str] | None = None, **fields: Any) -> Endpoint:
        endpoint = Endpoint(account=alice.user, url=url, events=events or ALL, **fields)
        listening.add(endpoint)
        return endpoint

    return make


def attempt(delivery: Delivery) -> Delivery:
    """Make what is due, and return what became of this one."""
    send_due()
    return Delivery.objects.get(pk=delivery.pk)


def make_due(delivery: Delivery) -> None:
    Delivery.objects.filter(pk=delivery.pk).update(due_at=timezone.now())


def succeed(generation: Generation) -> None:
    claim = services.claim(generation.pk)
    assert claim
    services.succeed(claim, [False], 1.5, 1.5, "tiny", "", "")


# One webhook of one request


def test_it_is_signed_so_that_a_standard_library_verifies_it(
    receiver: HostileServer, deliver: Callable[..., Delivery], alice: Person, bob: Person
) -> None:
    delivery = deliver(receiver.url("/hook", answer()))

    [(headers, body)] = [split(request) for request in receiver.requests]
    assert (delivery.state, delivery.attempts, delivery.answer) == (DELIVERED, 1, "200")
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == f"msg_{delivery.event.uid.hex}"
    assert Webhook(alice.user.webhook_secret).verify(body, headers) == {
        "status": "failed",
        "id": delivery.generation_id,
        "message": "Canceled",
        "output": [],
        "track_id": None,
    }
    with pytest.raises(WebhookVerificationError):
        Webhook(bob.user.webhook_secret).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(alice.user.webhook_secret).verify(body.replace(b"Canceled", b"Success!"), headers)


@pytest.mark.parametrize("track_id", [7, "7", 1.5, "order 66", 0])
def test_the_track_id_keeps_its_type(
    receiver: HostileServer, deliver: Callable[..., Delivery], track_id: int | float | str
) -> None:
    deliver(receiver.url("/hook", answer()), track_id)

    told = json.loads(split(receiver.requests[0])[1])["track_id"]
    assert (told, type(told)) == (track_id, type(track_id))


def test_success_is_told_in_full(receiver: HostileServer, submit: Submit, settings: Any) -> None:
    settings.PUBLIC_URL = "https://images.example.org"
    generation = submit(webhook_url=receiver.url("/hook", answer()), track_id=5)
    succeed(generation)

    attempt(Delivery.objects.get())

    body = json.loads(split(receiver.requests[0])[1])
    link = f"https://images.example.org/media/generations/{generation.file_prefix}-0.png"
    assert (body["status"], body["output"], body["track_id"]) == ("success", [link], 5)
    assert "error" not in body


def test_a_generation_without_a_webhook_has_no_delivery(submit: Submit) -> None:
    services.cancel(submit().pk)

    assert not Delivery.objects.exists()


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "204 No Content", "299 Whatever"])
def test_it_is_never_sent_again_after_a_2xx(
    receiver: HostileServer, deliver: Callable[..., Delivery], status: str
) -> None:
    delivery = deliver(receiver.url("/hook", answer(status=status)))
    make_due(delivery)

    assert attempt(delivery).state == DELIVERED
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", ["410 Gone", "404 Not Found", "400 Bad Request", "301 Moved Permanently"])
def test_an_answer_that_will_not_change_is_final(
    receiver: HostileServer, deliver: Callable[..., Delivery], status: str
) -> None:
    delivery = deliver(receiver.url("/hook", answer(status=status, Location="/elsewhere")))
    make_due(delivery)

    assert attempt(delivery).state == GIVEN_UP
    assert delivery.answer == status[:3]
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", ["500 Oops", "502 Bad Gateway", "429 Too Many Requests", "408 Request Timeout"])
def test_an_answer_that_may_pass_is_tried_again(
    receiver: HostileServer, deliver: Callable[..., Delivery], status: str
) -> None:
    delivery = deliver(receiver.url("/hook", answer(status=status)))
    receiver.url("/hook", answer())
    early = attempt(delivery)
    make_due(delivery)
    late = attempt(delivery)

    assert (delivery.state, delivery.answer) == (PENDING, status[:3])
    assert early.attempts == 1  # it was not due
    assert (late.state, late.attempts) == (DELIVERED, 2)
    assert len(receiver.requests) == 2


def test_every_attempt_sends_the_same_bytes_under_the_same_id(
    receiver: HostileServer, deliver: Callable[..., Delivery], alice: Person
) -> None:
    delivery = deliver(receiver.url("/hook", answer(status="500 Oops")))
    Generation.objects.filter(pk=delivery.generation_id).update(message="Changed since")
    make_due(delivery)
    attempt(delivery)

    (first, body), (second, again) = (split(request) for request in receiver.requests)
    assert body == again == outbox.body(delivery)
    assert first["webhook-id"] == second["webhook-id"]
    assert Webhook(alice.user.webhook_secret).verify(again, second)


def test_it_is_tried_for_three_days_with_growing_delays_and_no_longer(
    receiver: HostileServer, deliver: Callable[..., Delivery], clock: Clock
) -> None:
    delivery = deliver(receiver.url("/hook", answer(status="500 Oops")))

    send_for(clock, 10 * 86400)

    moments = [one.began_at for one in Attempt.objects.order_by("pk")]
    waits = [(later - earlier).total_seconds() for earlier, later in pairwise(moments)]
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts, len(receiver.requests)) == (GIVEN_UP, len(moments), len(moments))
    assert moments[-1] == NOON + timedelta(days=3)
    assert 10 <= len(moments) <= 13
    for wait, delay in zip(waits[:8], sending.DELAYS_SECONDS, strict=False):
        assert delay <= wait <= 1.2 * delay + 1000  # or the circuit


def test_a_receiver_that_is_away_is_tried_again(deliver: Callable[..., Delivery], settings: Any) -> None:
    host = f"127.0.0.1:{free_port()}"
    settings.FETCH_ALLOWED_HOSTS = frozenset({host})

    delivery = deliver(f"http://{host}/")

    assert (delivery.state, delivery.attempts) == (PENDING, 1)
    assert delivery.due_at > delivery.created_at + timedelta(seconds=sending.DELAYS_SECONDS[0])


def test_a_receiver_that_is_too_slow_is_tried_again(
    receiver: HostileServer, deliver: Callable[..., Delivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "TIMEOUT_SECONDS", 0.2)

    delivery = deliver(receiver.url("/hook", lambda sock: time.sleep(1)))

    assert (delivery.state, delivery.attempts) == (PENDING, 1)
    assert "0.2 seconds" in delivery.answer


def test_a_private_address_is_refused_for_good(deliver: Callable[..., Delivery]) -> None:
    delivery = deliver(f"http://127.0.0.1:{free_port()}/")

    assert delivery.state == GIVEN_UP
    assert "not on the public internet" in delivery.answer


@pytest.mark.django_db(transaction=True)
def test_8_racing_senders_deliver_it_once(receiver: HostileServer, submit: Submit) -> None:
    def slow(sock: socket) -> None:
        time.sleep(0.2)
        sock.sendall(answer())

    services.cancel(submit(webhook_url=receiver.url("/hook", slow)).pk)

    race(8, lambda k: send_due())

    assert len(receiver.requests) == 1
    assert Delivery.objects.get().state == DELIVERED


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"state": "lost"}, "state_is_known"),
        ({"state": "delivered", "leased_until": NOON}, "only_pending_is_attempted"),
        ({"state": "given up", "leased_until": NOON}, "only_pending_is_attempted"),
    ],
)
def test_the_database_refuses_a_delivery_that_makes_no_sense(
    submit: Submit, changes: dict[str, Any], constraint: str
) -> None:
    services.cancel(submit(webhook_url="https://example.org/").pk)

    with pytest.raises(IntegrityError, match=constraint):
        Delivery.objects.update(**changes)


@pytest.mark.parametrize("constraint", ["told_once_to_each_endpoint", "told_once_to_the_caller"])
def test_the_database_refuses_to_tell_the_same_twice(
    submit: Submit, listen: Callable[..., Endpoint], constraint: str
) -> None:
    listen("https://example.org/everything", ["canceled"])
    services.cancel(submit(webhook_url="https://example.org/own").pk)
    again = Delivery.objects.get(endpoint__isnull=constraint == "told_once_to_the_caller")
    again.pk = None

    with pytest.raises(IntegrityError, match=constraint):
        again.save(force_insert=True)


# Retries


@pytest.mark.parametrize(
    ("retry_after", "wait"),
    [
        ("1800", timedelta(minutes=30)),
        ("Mon, 23 Nov 2026 12:30:00 GMT", timedelta(minutes=30)),
        ("99999999999999999999", timedelta(seconds=10)),
        ("999999999", timedelta(days=1)),
        pytest.param("9" * 5000, timedelta(seconds=10), id="5000 digits"),  # more than int() reads
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", timedelta(seconds=10)),
        ("Mon, 23 Nov 2026 12:30:00 +99999999999999999", timedelta(seconds=10)),
        ("Fri, 31 Dec 9999 23:59:59 -2300", timedelta(days=1)),
        ("Mon, 01 Jan 0001 00:00:00 +2300", timedelta(seconds=10)),
        ("0", timedelta(seconds=10)),
        ("soon", timedelta(seconds=10)),
        ("", timedelta(seconds=10)),
    ],
)
@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Busy"])
def test_retry_after_is_honoured_within_a_day(
    receiver: HostileServer,
    deliver: Callable[..., Delivery],
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    retry_after: str,
    wait: timedelta,
) -> None:
    monkeypatch.setattr(sending.random, "uniform", lambda low, high: low)

    delivery = deliver(receiver.url("/hook", answer(status=status, Retry_After=retry_after)))

    assert (delivery.state, delivery.due_at - NOON) == (PENDING, wait)


@pytest.mark.parametrize("status", ["429 Slow down", "503 Busy"])
def test_an_address_that_asks_for_a_pause_gets_one_for_all_that_waits_for_it_and_no_other_does(
    receiver: HostileServer, submit: Submit, clock: Clock, bob: Person, status: str
) -> None:
    ledger.grant(bob.user.pk, 10, "test:bob")
    busy, quiet = receiver.url("/busy", answer(status=status, Retry_After="600")), receiver.url("/hook", answer())
    for url, person in [(busy, None), (busy, None), (quiet, None), (busy, bob)]:
        services.cancel(submit(webhook_url=url, **({"by": person} if person else {})).pk)
    _, waiting, other, bobs = Delivery.objects.order_by("pk")

    first = sending.take(1)
    sending.conclude(first[0], sending.send(first[0]))

    assert dict(Delivery.objects.exclude(pk=first[0].pk).values_list("pk", "due_at")) == {
        waiting.pk: NOON + timedelta(minutes=10),
        other.pk: NOON,
        bobs.pk: NOON,
    }
    assert send_due() == 2
    assert Delivery.objects.get(pk=other.pk).state == DELIVERED
    assert send_for(clock, 601) == 3  # hers, and his after his own pause


def test_no_pause_outlasts_the_time_in_which_something_may_be_told(
    receiver: HostileServer, submit: Submit, clock: Clock
) -> None:
    url = receiver.url("/busy", answer(status="429 Slow down", Retry_After="999999999"))
    for _ in range(3):
        services.cancel(submit(webhook_url=url).pk)
    first, near, far = Delivery.objects.order_by("pk")
    Delivery.objects.filter(pk=near.pk).update(give_up_at=NOON + timedelta(hours=5))

    [delivery] = sending.take(1)
    sending.conclude(delivery, sending.send(delivery))

    dues = dict(Delivery.objects.values_list("pk", "due_at"))
    assert (delivery, dues[near.pk] - NOON, dues[far.pk] - NOON) == (first, timedelta(hours=5), timedelta(days=1))


def test_too_many_requests_are_no_fault_of_the_host(receiver: HostileServer, submit: Submit, clock: Clock) -> None:
    for _ in range(8):
        services.cancel(submit(webhook_url=receiver.url("/busy", answer(status="429 Slow down"))).pk)

    made = [send_due() for _ in range(3)]

    assert made == [4, 4, 0]
    assert (Host.objects.get().failures, Host.objects.get().open_until) == (0, None)


@pytest.mark.django_db(transaction=True)
def test_a_pause_waits_for_no_other_sender_or_both_might_wait_for_each_other(
    receiver: HostileServer, submit: Submit
) -> None:
    url = receiver.url("/busy", answer(status="429 Slow down", Retry_After="600"))
    for _ in range(3):
        services.cancel(submit(webhook_url=url).pk)
    [delivery] = sending.take(1)
    outcome, held, done = sending.send(delivery), threading.Event(), threading.Event()
    _, others, free = Delivery.objects.order_by("pk")

    def work(k: int) -> bool:
        if k:
            held.wait(10)
            sending.conclude(delivery, outcome)
            done.set()
            return True
        with transaction.atomic():
            Delivery.objects.select_for_update().get(pk=others.pk)
            held.set()
            return done.wait(10)

    assert race(2, work) == [True, True]
    assert Delivery.objects.get(pk=free.pk).due_at > timezone.now() + timedelta(minutes=9)


def test_a_sender_that_dies_costs_half_a_minute_and_no_delivery(
    receiver: HostileServer, submit: Submit, clock: Clock
) -> None:
    services.cancel(submit(webhook_url=receiver.url("/hook", answer())).pk)
    [lost] = sending.take(9)  # and dies
    before_lapse = send_for(clock, 20)

    send_for(clock, 60)

    delivery = Delivery.objects.get()
    assert before_lapse == 0
    assert (delivery.state, delivery.attempts, lost.attempts) == (DELIVERED, 2, 1)


def test_a_2xx_that_is_written_down_late_counts_and_a_late_failure_does_not(
    receiver: HostileServer, submit: Submit, clock: Clock
) -> None:
    url = receiver.url("/hook", answer(status="500 Oops"))
    services.cancel(submit(webhook_url=url).pk)
    [late] = sending.take(9)
    failure = sending.send(late)
    receiver.url("/hook", answer())
    success = sending.send(late)
    clock.forward(seconds=40)
    [current] = sending.take(9)
    sending.conclude(late, failure)
    after_failure = Delivery.objects.get()

    sending.conclude(late, success)
    sending.conclude(current, failure)

    delivery = Delivery.objects.get()
    assert (after_failure.state, after_failure.leased_until) == (PENDING, clock.now + sending.LEASE)
    assert (delivery.state, delivery.answer) == (DELIVERED, "200")
    assert send_for(clock, 4 * 86400) == 0


def test_every_attempt_is_kept_without_its_signature_and_with_4_kb_of_the_answer(
    receiver: HostileServer, deliver: Callable[..., Delivery], alice: Person, clock: Clock
) -> None:
    delivery = deliver(receiver.url("/hook", answer(b"no\x00\xff" * 4000, status="500 Oops")))

    entry = Attempt.objects.get()
    headers, _ = split(receiver.requests[0])
    assert (entry.delivery_id, entry.number, entry.status, entry.began_at) == (delivery.pk, 1, 500, NOON)
    assert entry.answer == "no\ufffd\ufffd" * 1024
    assert 0 < entry.seconds < sending.TIMEOUT_SECONDS
    assert entry.headers == {
        "Content-Type": "application/json",
        "webhook-id": headers["webhook-id"],
        "webhook-timestamp": headers["webhook-timestamp"],
        "webhook-signature": "v1,…",
    }


# Hosts


def test_one_host_gets_four_at_once_and_another_its_own(submit: Submit, clock: Clock) -> None:
    for k in range(6):
        services.cancel(submit(webhook_url=f"https://slow.example/{k}").pk)
    services.cancel(submit(webhook_url="https://quick.example/").pk)
    services.cancel(submit(webhook_url="http://slow.example/").pk)  # another port

    taken = sending.take(128)

    hosts = [delivery.host.name for delivery in taken]
    assert sorted(hosts) == ["quick.example:443", *["slow.example:443"] * 4, "slow.example:80"]
    assert sending.take(128) == []


@pytest.mark.django_db(transaction=True)
def test_racing_senders_keep_to_four_at_once(submit: Submit, clock: Clock) -> None:
    for k in range(20):
        services.cancel(submit(webhook_url=f"https://slow.example/{k}").pk)

    taken = race(8, lambda k: len(sending.take(3)))

    assert sum(taken) <= 4  # type: ignore[arg-type]
    assert sum(taken) + len(sending.take(128)) == 4  # type: ignore[arg-type]


def test_the_host_that_waited_longest_is_served_first(submit: Submit, clock: Clock) -> None:
    for k in range(30):
        services.cancel(submit(webhook_url=f"https://busy.example/{k}").pk)
    services.cancel(submit(webhook_url="https://quiet.example/").pk)
    order = []
    for _ in range(3):
        clock.forward(seconds=1)
        order += [delivery.host.name.partition(".")[0] for delivery in sending.take(1)]

    assert order == ["busy", "quiet", "busy"]


def test_a_host_that_is_full_takes_nobodys_turn(submit: Submit, clock: Clock) -> None:
    for k in range(9):
        services.cancel(submit(webhook_url=f"https://full.example/{k}").pk)
    sending.take(4)
    Host.objects.update(served_at=NOON - timedelta(days=1))
    services.cancel(submit(webhook_url="https://quiet.example/").pk)

    assert [delivery.host.name for delivery in sending.take(1)] == ["quiet.example:443"]


def test_a_dead_host_is_left_alone_and_probed_by_one_delivery_at_a_time(
    receiver: HostileServer, submit: Submit, clock: Clock
) -> None:
    dead = receiver.url("/hook", answer(status="500 Oops"))
    for _ in range(20):
        services.cancel(submit(webhook_url=dead).pk)
    made = [send_due() for _ in range(5)]
    opened = Host.objects.get()
    probes = []
    for _ in range(4):
        clock.now = Host.objects.get().open_until or clock.now
        probes.append((send_due(), len(sending.take(9))))

    assert made[:3] == [4, 4, 0]
    assert opened.failures == 8
    assert probes == [(1, 0)] * 4
    assert Host.objects.get().open_until >= clock.now + timedelta(seconds=900)  # type: ignore[operator]


def test_a_probe_that_arrives_lets_everything_through(receiver: HostileServer, submit: Submit, clock: Clock) -> None:
    url = receiver.url("/hook", answer(status="500 Oops"))
    for _ in range(12):
        services.cancel(submit(webhook_url=url).pk)
    send_due()
    send_due()
    receiver.url("/hook", answer())

    send_for(clock, 3600)

    assert set(Delivery.objects.values_list("state", flat=True)) == {DELIVERED}
    assert (Host.objects.get().failures, Host.objects.get().open_until) == (0, None)


def test_an_answer_that_says_no_is_no_fault_of_the_host(receiver: HostileServer, submit: Submit, clock: Clock) -> None:
    for _ in range(8):
        services.cancel(submit(webhook_url=receiver.url("/hook", answer(status="404 Not Found"))).pk)

    send_for(clock, 1)

    assert len(receiver.requests) == 8
    assert Host.objects.get().failures == 0


def test_what_no_probe_reached_in_three_days_is_given_up(submit: Submit, clock: Clock) -> None:
    services.cancel(submit(webhook_url="https://dead.example/").pk)
    Host.objects.update(failures=9, open_until=NOON + timedelta(days=9))
    clock.forward(days=3, minutes=1)

    sending.give_up_old()

    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.attempts) == (GIVEN_UP, 0)
    assert "could not be reached" in delivery.answer


# 410 Gone


def test_410_switches_the_address_off_for_that_key_alone(
    receiver: HostileServer, submit: Submit, alice: Person, clock: Clock
) -> None:
    url = receiver.url("/hook", answer(status="410 Gone"))
    other_key = Person(alice.user, ApiKey.create(alice.user, "second")[0], "")
    waiting = submit(webhook_url=url)
    services.cancel(submit(webhook_url=url).pk)
    send_due()
    services.cancel(waiting.pk)
    services.cancel(submit(webhook_url=url, by=other_key).pk)

    send_for(clock, 3600)

    assert [one.state for one in Delivery.objects.order_by("pk")] == [GIVEN_UP] * 3
    assert len(receiver.requests) == 2  # one for each key
    assert Delivery.objects.order_by("pk")[1].answer == outbox.SILENCED
    assert set(SilencedUrl.objects.values_list("api_key", "url")) == {
        (alice.api_key.pk, url),
        (other_key.api_key.pk, url),
    }


def test_an_address_that_was_switched_off_can_be_switched_on_again(
    receiver: HostileServer, deliver: Callable[..., Delivery], submit: Submit
) -> None:
    url = receiver.url("/hook", answer(status="410 Gone"))
    deliver(url)
    receiver.url("/hook", answer())

    listening.hear_again(SilencedUrl.objects.get())

    assert deliver(url).state == DELIVERED


def test_410_switches_an_endpoint_off_and_ends_what_waits_for_it(
    receiver: HostileServer, submit: Submit, listen: Callable[..., Endpoint], clock: Clock
) -> None:
    endpoint = listen(receiver.url("/all", answer(status="410 Gone")))
    submit()
    submit()

    send_for(clock, 3600)
    submit()

    endpoint.refresh_from_db()
    assert (endpoint.is_on, endpoint.off_reason) == (False, "It answered 410 Gone.")
    assert len(receiver.requests) <= 2
    assert set(Delivery.objects.values_list("state", flat=True)) == {GIVEN_UP}


# Endpoints of an account


def test_an_endpoint_hears_of_what_it_chose_in_order_and_of_nobody_elses(
    receiver: HostileServer, submit: Submit, listen: Callable[..., Endpoint], bob: Person, settings: Any
) -> None:
    settings.PUBLIC_URL = "https://images.example.org"
    listen(receiver.url("/all", answer()))
    listen(receiver.url("/ends", answer()), ["success", "failed", "canceled"])
    listen(receiver.url("/off", answer()), is_on=False)
    ledger.grant(bob.user.pk, 10, "test:bob")
    generation = submit(track_id="mine")
    succeed(generation)
    services.cancel(submit(by=bob).pk)

    while send_due():
        pass

    everything = [told(request) for request in receiver.requests if b" /all " in request]
    ends = [told(request) for request in receiver.requests if b" /ends " in request]
    assert [event["type"] for event in everything] == ["queued", "processing", "success"]
    assert ends == everything[2:]
    assert [event["data"]["status"] for event in everything] == ["processing", "processing", "success"]
    event = Event.objects.get(type="success")
    assert everything[2] == {
        "id": event.message_id,
        "type": "success",
        "timestamp": event.created_at.isoformat(),
        "data": json.loads(event.data),
    }
    assert everything[2]["data"]["track_id"] == "mine"
    assert len(receiver.requests) == 4


def test_nothing_is_written_where_nobody_listens(submit: Submit) -> None:
    succeed(submit())

    assert not Event.objects.exists()


def test_what_comes_later_waits_until_what_came_before_has_arrived(
    receiver: HostileServer, submit: Submit, listen: Callable[..., Endpoint], clock: Clock
) -> None:
    url = receiver.url("/all", answer(status="500 Oops"))
    listen(url)
    succeed(submit())
    other = submit()
    send_due()
    receiver.url("/all", answer())

    send_for(clock, 600)

    arrived = [told(request) for request in receiver.requests[2:]]
    ids = [(event["data"]["id"] == other.pk, event["type"]) for event in arrived]
    assert [type for is_other, type in ids if not is_other] == ["queued", "processing", "success"]
    assert [type for is_other, type in ids if is_other] == ["queued"]
    assert [told(request)["type"] for request in receiver.requests[:2]] == ["queued", "queued"]


def test_an_endpoint_that_is_switched_off_waits_and_goes_on_when_it_is_on_again(
    receiver: HostileServer, submit: Submit, listen: Callable[..., Endpoint], clock: Clock
) -> None:
    endpoint = listen(receiver.url("/all", answer()))
    submit()
    listening.switch(endpoint, False)
    while_off = send_for(clock, 600)

    listening.switch(endpoint, True)

    assert (while_off, send_due()) == (0, 1)


def test_a_balance_that_falls_below_the_mark_is_told_once_an_hour(
    receiver: HostileServer, submit: Submit, listen: Callable[..., Endpoint], clock: Clock
) -> None:
    listen(receiver.url("/low", answer()), ["balance.low"], low_balance_credits=997)
    generations = [submit(samples=2) for _ in range(3)]  # 998, 996, 994
    for generation in generations:
        services.cancel(generation.pk)
    submit(samples=4)  # 996, and below again
    within_an_hour = send_for(clock, 3600)
    submit(samples=4)
    services.cancel(Generation.objects.latest("pk").pk)
    services.cancel(Generation.objects.latest("-pk").pk)
    services.cancel(Generation.objects.filter(status="queued").get().pk)
    submit(samples=4)
    send_due()

    bodies = [told(request) for request in receiver.requests]
    assert within_an_hour == 1
    assert [(body["type"], body["data"]) for body in bodies] == [
        ("balance.low", {"balance": 996, "low_balance_credits": 997})
    ] * 2


def test_a_test_ping_reaches_its_endpoint_alone(receiver: HostileServer, listen: Callable[..., Endpoint]) -> None:
    endpoint = listen(receiver.url("/a", answer()), ["failed"])
    listen(receiver.url("/b", answer()))

    delivery = listening.ping(endpoint)
    send_due()

    assert [told(request)["type"] for request in receiver.requests] == ["ping"]
    assert told(receiver.requests[0])["data"] == {"endpoint": endpoint.url}
    assert Delivery.objects.get(pk=delivery.pk).state == DELIVERED


def test_an_account_has_at_most_twenty_endpoints(listen: Callable[..., Endpoint]) -> None:
    for k in range(20):
        listen(f"https://example.org/{k}")

    with pytest.raises(listening.TooManyEndpoints):
        listen("https://example.org/20")

    assert Endpoint.objects.count() == 20


# Secrets


def test_the_secret_before_the_newest_signs_for_another_day(
    receiver: HostileServer, submit: Submit, alice: Person, clock: Clock
) -> None:
    url, old = receiver.url("/hook", answer()), alice.user.webhook_secret
    alice.user.rotate_webhook_secret()
    new = alice.user.webhook_secret
    services.cancel(submit(webhook_url=url).pk)
    send_due()
    clock.forward(hours=24)
    services.cancel(submit(webhook_url=url).pk)
    send_due()

    during, after = receiver.requests
    assert old != new
    assert [is_signed(during, secret) for secret in (old, new)] == [True, True]
    assert [is_signed(after, secret) for secret in (old, new)] == [False, True]


# Sending again


def test_what_failed_is_sent_again_under_its_own_id_and_what_arrived_is_not(
    receiver: HostileServer, submit: Submit, clock: Clock
) -> None:
    for path, status in (("/ok", "200 OK"), ("/no", "404 Not Found"), ("/never", "404 Not Found")):
        services.cancel(submit(webhook_url=receiver.url(path, answer(status=status))).pk)
        clock.forward(hours=1)
        send_due()
    receiver.url("/no", answer())
    receiver.url("/never", answer(status="500 Oops"))

    resent = listening.resend(Delivery.objects.all())
    first = send_for(clock, 30)

    by_path = {request.split(b" ")[1].decode(): split(request)[0]["webhook-id"] for request in receiver.requests[:3]}
    assert (resent, first) == (2, 3)  # its delays begin anew
    assert {request.split(b" ")[1] for request in receiver.requests[3:]} == {b"/no", b"/never"}
    for request in receiver.requests[3:]:
        assert split(request)[0]["webhook-id"] == by_path[request.split(b" ")[1].decode()]


def test_what_failed_since_a_time_is_sent_again(submit: Submit, clock: Clock) -> None:
    for _ in range(3):
        services.cancel(submit(webhook_url="https://example.org/").pk)
        clock.forward(hours=1)
    Delivery.objects.update(state=GIVEN_UP)

    resent = listening.resend(Delivery.objects.all(), since=NOON + timedelta(hours=1))

    assert resent == 2
    assert [one.state for one in Delivery.objects.order_by("pk")] == [GIVEN_UP, PENDING, PENDING]


# The process that sends


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("with_redis", [True, False], ids=["Redis", "no Redis"])
def test_the_sender_sends_until_it_is_stopped(
    receiver: HostileServer, submit: Submit, request: pytest.FixtureRequest, with_redis: bool
) -> None:
    if not with_redis:
        request.getfixturevalue("no_redis")
    sender = sending.Sender()

    def work(k: int) -> None:
        if k == 0:
            sender.run()
            return
        for _ in range(3):
            services.cancel(submit(webhook_url=receiver.url("/hook", answer())).pk)
        deadline = time.monotonic() + 20
        while Delivery.objects.filter(state=PENDING).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        sender.stop()

    outcomes = race(2, work)

    assert outcomes == [None, None]
    assert len(receiver.requests) == 3
    assert set(Delivery.objects.values_list("state", flat=True)) == {DELIVERED}


def take_one(sender: sending.Sender) -> Delivery:
    """Take the delivery that is due, as the sender does before a thread sends it."""
    [delivery] = sending.take(9)
    sender.running += 1
    return delivery


def test_an_address_that_the_database_refuses_to_silence_is_only_given_up(
    receiver: HostileServer, submit: Submit, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.url(quote(f"/{AT_RANDOM}"), answer(status="410 Gone"))
    services.cancel(submit(webhook_url=f"http://{receiver.host}/{AT_RANDOM}").pk)  # from before bytes were counted
    sender = sending.Sender()
    delivery = take_one(sender)

    sender.conclude(delivery, sending.send(delivery))

    delivery.refresh_from_db()
    assert (sender.running, sender.ended.empty()) == (0, True)
    assert (delivery.state, delivery.answer, delivery.leased_until) == (GIVEN_UP, "410", None)
    assert not SilencedUrl.objects.exists()
    assert "can't be written down" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_a_delivery_that_is_deleted_while_it_is_sent_stops_nothing(receiver: HostileServer, submit: Submit) -> None:
    services.cancel(submit(webhook_url=receiver.url("/hook", answer())).pk)
    sender = sending.Sender()
    delivery = take_one(sender)
    Delivery.objects.all().delete()

    sender.conclude(delivery, sending.send(delivery))

    assert (sender.running, sender.ended.empty()) == (0, True)
    assert not Attempt.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_an_outcome_that_the_database_refuses_altogether_is_left_to_its_lease(submit: Submit, clock: Clock) -> None:
    services.cancel(submit(webhook_url="https://example.org/").pk)
    sender = sending.Sender()
    delivery = take_one(sender)

    sender.conclude(delivery, sending.Outcome(NOON, 0.1, {}, None, "\x00", may_pass=True))

    delivery.refresh_from_db()
    assert (sender.running, sender.ended.empty()) == (0, True)
    assert (delivery.state, delivery.leased_until) == (PENDING, NOON + sending.LEASE)
    assert not Attempt.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_what_arrived_while_the_database_was_away_is_written_down_when_it_is_back(
    receiver: HostileServer, submit: Submit
) -> None:
    services.cancel(submit(webhook_url=receiver.url("/hook", answer())).pk)
    sender = sending.Sender()
    delivery = take_one(sender)
    with pytest.raises(OperationalError), connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(OperationalError):
        sender.conclude(delivery, sending.send(delivery))
    while_away = sender.running
    close_old_connections()
    sender.wait()

    assert (while_away, sender.running) == (1, 0)
    assert Delivery.objects.get().state == DELIVERED
