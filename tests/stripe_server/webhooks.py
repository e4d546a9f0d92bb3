"""Deliveries of events to the shop: signed as Stripe signs, and as late, as often and in what order a test likes."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterable
from http.client import HTTPException
from threading import Event as Flag
from threading import Thread
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from tests.stripe_server.account import Account, Object

Send = Callable[[bytes, dict[str, str]], int]  # body and headers → HTTP status
RETRY_SECONDS = (1, 2, 5, 15, 60)  # Stripe's own are hours
opener = build_opener(ProxyHandler({}))  # the shop is on this machine


def signature(body: bytes, secrets: Iterable[str], at: float | None = None) -> str:
    """Return the Stripe-Signature header; several secrets sign while one replaces another."""
    moment = int(time.time() if at is None else at)
    signed = f"{moment}.".encode() + body
    marks = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    return ",".join([f"t={moment}", *(f"v1={mark}" for mark in marks)])


def post_to(url: str) -> Send:
    """Return a sender that posts to `url`; what can't be reached answers 0."""

    def send(body: bytes, headers: dict[str, str]) -> int:
        try:
            with opener.open(Request(url, body, headers), timeout=30) as reply:
                return int(reply.status)
        except HTTPError as error:
            return error.code
        except (OSError, HTTPException):
            return 0

    return send


class Webhooks:
    """The one webhook endpoint of an account. Nothing is sent until somebody asks, or `start` does so by itself."""

    def __init__(self, account: Account, send: Send | None = None, secrets: Iterable[str] = ("whsec_pretend",)) -> None:
        self.account = account
        self.send = send
        self.secrets = list(secrets)
        self.stopping = Flag()

    @property
    def pending(self) -> list[Object]:
        """What the endpoint has not accepted yet, oldest first."""
        with self.account.lock:
            return list(self.account.pending)

    def deliver(self, events: Iterable[Object] | None = None, copies: int = 1) -> list[int]:
        """Send events, all pending ones unless some are given, and return each answer's status.

        An accepted event is pending no more; one that was refused or not sent stays.
        """
        statuses = []
        for event in self.pending if events is None else list(events):
            for _ in range(copies):
                statuses.append(self.send_once(event))
        return statuses

    def deliver_until_quiet(self, rounds: int = 10) -> None:
        """Send until nothing is pending; events that an endpoint keeps refusing are an error."""
        for _ in range(rounds):
            if not self.pending:
                return
            self.deliver()
        raise AssertionError(f"refused {rounds} times: {[event['type'] for event in self.pending]}")

    def drop(self, events: Iterable[Object] | None = None) -> None:
        """Lose pending events: they are never sent, as if the shop had been away for days."""
        with self.account.lock:
            lost = {event["id"] for event in (self.pending if events is None else events)}
            self.account.pending[:] = [event for event in self.account.pending if event["id"] not in lost]
            self.account.save()

    def send_once(self, event: Object) -> int:
        assert self.send, "the webhook endpoint has no address"
        body = json.dumps(event, indent=2).encode()
        headers = {"Content-Type": "application/json", "Stripe-Signature": signature(body, self.secrets)}
        status = self.send(body, headers)  # without the lock: the shop may call us meanwhile
        if 200 <= status < 300:
            self.drop([event])
        return status

    def start(self) -> None:
        """Deliver by itself, in order, trying again what was refused."""
        Thread(target=self.run, name="webhooks", daemon=True).start()

    def run(self) -> None:
        refusals: dict[str, tuple[int, float]] = {}  # event → how often, and when it is tried again
        while not self.stopping.wait(0.1):
            for event in self.pending:
                count, due = refusals.get(event["id"], (0, 0.0))
                if time.monotonic() < due or 200 <= self.send_once(event) < 300:
                    continue
                if count == len(RETRY_SECONDS):
                    self.drop([event])
                else:
                    refusals[event["id"]] = (count + 1, time.monotonic() + RETRY_SECONDS[count])
