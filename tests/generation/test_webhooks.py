"""generation.webhooks: told once, signed, and retried for as long as it makes sense."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from socket import socket
from typing import Any

import pytest
from django.utils import timezone
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from generation import services, webhooks
from generation.models import Delivery, Generation
from tests.conftest import Person
from tests.generation.conftest import Submit
from tests.generation.hostile_server import HostileServer, answer, serving
from tests.racing import race
from tests.services import free_port

PENDING, DELIVERED, GIVEN_UP = Delivery.State.PENDING, Delivery.State.DELIVERED, Delivery.State.GIVEN_UP


@pytest.fixture
def receiver(settings: Any) -> Iterator[HostileServer]:
    with serving() as server:
        settings.FETCH_ALLOWED_HOSTS = frozenset({server.host})
        yield server


@pytest.fixture
def deliver(submit: Submit) -> Callable[..., Delivery]:
    """Return a function that ends a generation with this webhook and makes the first attempt."""

    def run(url: str, track_id: Any = None) -> Delivery:
        generation = submit(webhook_url=url, track_id=track_id)
        services.cancel(generation.pk)
        return attempt(Delivery.objects.get(generation=generation))

    return run


def attempt(delivery: Delivery) -> Delivery:
    webhooks.deliver(delivery.pk)
    return Delivery.objects.get(pk=delivery.pk)


def make_due(delivery: Delivery) -> None:
    Delivery.objects.filter(pk=delivery.pk).update(due_at=timezone.now())


def split(request: bytes) -> tuple[dict[str, str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}, body


def test_it_is_signed_so_that_a_standard_library_verifies_it(
    receiver: HostileServer, deliver: Callable[..., Delivery], alice: Person, bob: Person
) -> None:
    delivery = deliver(receiver.url("/hook", answer()))

    [(headers, body)] = [split(request) for request in receiver.requests]
    assert (delivery.state, delivery.attempts, delivery.answer) == (DELIVERED, 1, "200")
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == f"msg_{delivery.event.hex}"
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
    claim = services.claim(generation.pk)
    assert claim
    services.succeed(claim, [False], 1.5, "tiny", "", "")

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
    assert body == again == bytes(delivery.payload)
    assert first["webhook-id"] == second["webhook-id"]
    assert Webhook(alice.user.webhook_secret).verify(again, second)


def test_the_ladder_of_retries_ends(receiver: HostileServer, deliver: Callable[..., Delivery]) -> None:
    delivery = deliver(receiver.url("/hook", answer(status="500 Oops")))
    waits = []
    while delivery.state == PENDING:
        waits.append((delivery.due_at - timezone.now()).total_seconds())
        make_due(delivery)
        delivery = attempt(delivery)

    assert (delivery.state, delivery.attempts) == (GIVEN_UP, 11)
    assert len(receiver.requests) == 11
    for wait, delay in zip(waits, webhooks.DELAYS_SECONDS, strict=True):
        assert delay + webhooks.TIMEOUT_SECONDS - 2 <= wait <= 1.2 * delay + webhooks.TIMEOUT_SECONDS


def test_a_receiver_that_is_away_is_tried_again(deliver: Callable[..., Delivery], settings: Any) -> None:
    host = f"127.0.0.1:{free_port()}"
    settings.FETCH_ALLOWED_HOSTS = frozenset({host})

    delivery = deliver(f"http://{host}/")

    assert (delivery.state, delivery.attempts) == (PENDING, 1)
    # Not before the slowest answer would have come: one attempt is over when the next begins.
    assert delivery.due_at > timezone.now() + timedelta(seconds=webhooks.TIMEOUT_SECONDS)


def test_a_receiver_that_is_too_slow_is_tried_again(
    receiver: HostileServer, deliver: Callable[..., Delivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "TIMEOUT_SECONDS", 0.2)

    delivery = deliver(receiver.url("/hook", lambda sock: time.sleep(1)))

    assert (delivery.state, delivery.attempts) == (PENDING, 1)
    assert "0.2 seconds" in delivery.answer


def test_a_private_address_is_refused_for_good(deliver: Callable[..., Delivery]) -> None:
    delivery = deliver(f"http://127.0.0.1:{free_port()}/")

    assert delivery.state == GIVEN_UP
    assert "not on the public internet" in delivery.answer


@pytest.mark.django_db(transaction=True)
def test_8_racing_workers_deliver_it_once(receiver: HostileServer, submit: Submit) -> None:
    def slow(sock: socket) -> None:
        time.sleep(0.2)
        sock.sendall(answer())

    services.cancel(submit(webhook_url=receiver.url("/hook", slow)).pk)
    delivery = Delivery.objects.get()

    race(8, lambda k: webhooks.deliver(delivery.pk))

    assert len(receiver.requests) == 1
    assert Delivery.objects.get().state == DELIVERED
