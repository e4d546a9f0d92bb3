"""Days in the life of webhooks, by a clock of the test's own: bad receivers, and senders that are killed all the time.

The requests are real, to receivers on loopback; only the time is not: a slow receiver answers at once, and its answer
is written down as many seconds later as it would have taken.
"""

import random
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from socket import SO_LINGER, SOL_SOCKET, socket
from typing import Any

import pytest
from django.utils import timezone

from generation import services
from generation.models import Delivery, Endpoint, Event
from generation.webhooks import listening, sending
from tests.conftest import Person
from tests.generation.conftest import Submit
from tests.generation.hostile_server import HostileServer, answer, serving
from tests.generation.webhook_clock import NOON, Clock, is_signed, next_moment, told
from tests.services import free_port

GOOD = ["good", "also good"]
KINDS = [*GOOD, "slow", "down", "500", "flapping", "302", "410", "100 MB", "reset"]
SECONDS = {"slow": 14.0, "down": 0.01}  # that an answer takes; others 0.05
GENERATIONS, EVERY = 8, timedelta(hours=3)
KILLED = 0.14  # the chance of a sender to be killed while it sends


def hours(now: datetime) -> float:
    return (now - NOON).total_seconds() / 3600


def reset(sock: socket) -> None:
    sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def flood(sock: socket) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
    for _ in range(100):
        sock.sendall(b"x" * 1_000_000)


def status(kind: str, now: datetime) -> int:
    """Return what a receiver answers at a time; 0 is a reset."""
    at = hours(now)
    bad = {
        "500": (500, at < 20),
        "flapping": (503, int(at) % 2 == 0 and at < 40),
        "302": (302, at < 10),
        "410": (410, True),
        "reset": (0, at < 5),
    }.get(kind, (200, False))
    return bad[0] if bad[1] else 200


class Days:
    """Lets time pass from one moment in which something happens to the next."""

    def __init__(self, clock: Clock, kinds: dict[int, str]) -> None:
        self.clock, self.kinds = clock, kinds  # of endpoints
        self.luck = random.Random(7)
        self.running: list[tuple[datetime, Delivery, sending.Outcome]] = []  # of the one sender
        self.unwritten: defaultdict[int, int] = defaultdict(int)  # delivery → answers that died with their sender
        self.delays: dict[int, float] = {}  # delivery → seconds from the event to its arrival
        self.kills = 0

    def until(self, end: datetime, happens: Callable[[], None] | None = None) -> None:
        """Send until a time, and let something happen then."""
        while self.clock.now < end:
            self.send()
            moments = [next_moment(), end, *(at for at, _, _ in self.running)]
            lapses = Delivery.objects.filter(state="pending", leased_until__gt=self.clock.now)
            moments += lapses.values_list("leased_until", flat=True)
            # Whoever polls finds it up to a second late.
            late = self.luck.uniform(0.01, sending.POLL_SECONDS)
            following = [moment for moment in moments if moment > self.clock.now]
            self.clock.now = min(end, min(following, default=end) + timedelta(seconds=late))
            self.write_down()
        if happens:
            happens()

    def send(self) -> None:
        for delivery in sending.take(sending.THREADS - len(self.running)):
            kind = self.kinds[delivery.endpoint_id or 0]
            ends_at = self.clock.now + timedelta(seconds=SECONDS.get(kind, 0.05))
            self.running.append((ends_at, delivery, sending.send(delivery)))
        if self.running and self.luck.random() < KILLED:
            self.kills += 1
            for _, delivery, outcome in self.running:
                self.unwritten[delivery.pk] += outcome.delivered
            self.running.clear()

    def write_down(self) -> None:
        ended = [one for one in self.running if one[0] <= self.clock.now]
        self.running = [one for one in self.running if one[0] > self.clock.now]
        for at, delivery, outcome in sorted(ended, key=lambda one: one[0]):
            sending.conclude(delivery, outcome)
            if outcome.delivered:
                self.delays[delivery.pk] = (at - delivery.event.created_at).total_seconds()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timezone, "now", clock)
    return clock


@pytest.fixture
def receivers(settings: Any, clock: Clock) -> Iterator[dict[str, HostileServer]]:
    """One host for each kind, and an empty place where the one that is down will be."""
    with ExitStack() as stack:
        servers = {kind: stack.enter_context(serving()) for kind in KINDS if kind != "down"}
        for kind, server in servers.items():
            server.url("/", lambda sock, kind=kind: respond(sock, kind, clock.now))  # type: ignore[misc]
        settings.FETCH_ALLOWED_HOSTS = frozenset(server.host for server in servers.values())
        yield servers


def respond(sock: socket, kind: str, now: datetime) -> None:
    code = status(kind, now)
    if code == 0:
        reset(sock)
    elif kind == "100 MB":
        flood(sock)
    else:
        sock.sendall(answer(status=f"{code} Whatever", Location="/elsewhere"))


def arrivals(server: HostileServer) -> list[tuple[str, int, str]]:
    """Return (message, generation, event) of every request, in order."""
    events = [told(request) for request in server.requests]
    return [(event["id"], event["data"]["id"], event["type"]) for event in events]


def test_bad_receivers_for_days_and_senders_that_are_killed(
    alice: Person, submit: Submit, clock: Clock, receivers: dict[str, HostileServer], settings: Any
) -> None:
    random.seed(7)  # the product spreads its delays at random; the same days every time
    port = free_port()
    settings.FETCH_ALLOWED_HOSTS |= {f"127.0.0.1:{port}"}
    urls = {kind: f"http://{server.host}/" for kind, server in receivers.items()} | {
        "down": f"http://127.0.0.1:{port}/"
    }
    endpoints = {}
    for kind, url in urls.items():
        endpoints[kind] = Endpoint(account=alice.user, url=url, events=["queued", "processing", "success"])
        listening.add(endpoints[kind])
    days = Days(clock, {endpoint.pk: kind for kind, endpoint in endpoints.items()})

    def make() -> None:
        generation = submit(by=alice)
        claim = services.claim(generation.pk)
        assert claim
        services.succeed(claim, [False], 1.0, 1.0, "tiny", "", "")

    for k in range(GENERATIONS):
        days.until(NOON + EVERY * k, make)
    with serving(port=port) as server:
        server.url("/", answer())
        receivers["down"] = server
        days.until(NOON + timedelta(hours=36))
        resent = listening.resend(Delivery.objects.filter(endpoint=endpoints["302"]))
        days.until(NOON + timedelta(days=4))

    events = {event.message_id for event in Event.objects.all()}
    assert len(events) == 3 * GENERATIONS
    assert days.kills > 10
    assert 0 < resent < len(events)
    for kind in set(KINDS) - {"410"}:
        arrived = arrivals(receivers[kind])
        states = set(Delivery.objects.filter(endpoint=endpoints[kind]).values_list("state", flat=True))
        assert (kind, states) == (kind, {"delivered"})
        assert (kind, {message for message, _, _ in arrived}) == (kind, events)
        # The last request for each message is the one that was answered 2xx and written down: none came after it.
        order = list(dict.fromkeys(arrived[::-1]))[::-1]
        for pk in {generation for _, generation, _ in arrived}:
            assert [type for _, of, type in order if of == pk] == ["queued", "processing", "success"], kind
    for kind in ("good", "also good", "slow", "down", "100 MB"):  # said yes whenever they were asked
        deliveries = Delivery.objects.filter(endpoint=endpoints[kind])
        doubles = sum(days.unwritten[pk] for pk in deliveries.values_list("pk", flat=True))
        assert len(receivers[kind].requests) == len(events) + doubles, kind
    secret = alice.user.webhook_secret
    assert all(is_signed(request, secret) for server in receivers.values() for request in server.requests)
    for kind in GOOD:
        deliveries = Delivery.objects.filter(endpoint=endpoints[kind])
        hit = deliveries.filter(attempts__gt=1).values("generation")  # a sender died, and what followed had to wait
        delays = sorted(days.delays[one.pk] for one in deliveries.exclude(generation__in=hit))
        assert len(delays) >= GENERATIONS
        assert delays[int(len(delays) * 0.95)] < 2, (kind, delays)
    endpoints["410"].refresh_from_db()
    assert (endpoints["410"].is_on, len(receivers["410"].requests)) == (False, 1)
