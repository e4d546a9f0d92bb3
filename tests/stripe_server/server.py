"""The HTTP server: authorization, idempotency, versions, the log of calls, and faults that a test asks for."""

import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any
from urllib.parse import urlsplit

from tests.stripe_server import (  # noqa: F401  (these register their calls)
    checkout,
    disputes,
    events,
    pages,
    portal,
    refunds,
)
from tests.stripe_server.account import API_VERSION, Account
from tests.stripe_server.errors import Refused
from tests.stripe_server.lists import expanded
from tests.stripe_server.params import Params
from tests.stripe_server.routes import answer
from tests.stripe_server.webhooks import Send, Webhooks, post_to
from tests.stripe_server.world import World


@dataclass(frozen=True)
class Call:
    """One call of the API, as it was answered."""

    method: str
    path: str
    params: Params
    idempotency_key: str | None
    version: str
    status: int
    replayed: bool = False  # answered from memory: nothing was done


@dataclass
class Faults:
    """Answers that go wrong: how many more, for which calls."""

    lost: dict[str, int] = field(default_factory=dict)  # start of "POST /v1/…" → how many answers are lost
    broken: dict[str, int] = field(default_factory=dict)

    def lose(self, call: str, count: int = 1) -> None:
        """Do what is asked, then hang up without an answer."""
        self.lost[call] = count

    def break_down(self, call: str, count: int = 1) -> None:
        """Answer 500 and do nothing."""
        self.broken[call] = count

    def clear(self) -> None:
        self.lost.clear()
        self.broken.clear()


def strikes(faults: dict[str, int], call: str) -> bool:
    for start in faults:
        if call.startswith(start) and faults[start] > 0:
            faults[start] -= 1
            return True
    return False


class PretendStripe(ThreadingHTTPServer):
    """A pretend Stripe on this machine."""

    daemon_threads = True
    block_on_close = False  # clients keep their connections
    request_queue_size = 128

    def __init__(
        self,
        port: int = 0,
        *,
        webhook_url: str = "",
        webhook_secrets: Iterable[str] = ("whsec_pretend",),
        secret_key: str = "",
        keep: Path | None = None,
    ) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.account = Account(self.url, keep)
        self.webhooks = Webhooks(self.account, post_to(webhook_url) if webhook_url else None, webhook_secrets)
        self.world = World(self.account)
        self.secret_key = secret_key  # the only one that is let in; empty: any
        self.calls: list[Call] = []
        self.faults = Faults()
        self.keys_in_use: set[str] = set()
        self.keys_lock = Lock()

    def send_webhooks_to(self, send: Send) -> None:
        """Hand deliveries to a function, such as one around Django's test client."""
        self.webhooks.send = send

    def forget(self) -> None:
        """Begin anew, as another account."""
        with self.account.lock:
            self.account.forget()
            self.faults.clear()
            self.calls.clear()

    @property
    def charged_cents(self) -> list[int]:
        """The amounts of all charges that succeeded, oldest first."""
        return [charge["amount"] for charge in self.world.all("charge") if charge["status"] == "succeeded"]

    def called(self, start: str) -> list[Call]:
        """Return the calls that were carried out whose "METHOD /path" begins with `start`."""
        return [call for call in self.calls if not call.replayed and f"{call.method} {call.path}".startswith(start)]

    def respond(self, method: str, path: str, encoded: str, key: str | None, version: str) -> tuple[int, Any, bool]:
        """Answer one call: status, body, and whether it was answered before under the same key."""
        if method != "POST" or not key:
            return (*self.perform(method, path, encoded), False)
        asked = hashlib.sha256(f"{method} {path} {encoded}".encode()).hexdigest()
        with self.keys_lock:
            if known := self.account.answers.get(key):
                return self.repeat(known, asked)
            if key in self.keys_in_use:
                return 409, key_error("idempotency_key_in_use", "There is another request with this key."), False
            self.keys_in_use.add(key)
        try:
            status, body = self.perform(method, path, encoded)
            if status in (200, 402):  # what was refused before anything was done may be tried again
                self.account.answers[key] = {"asked": asked, "status": status, "body": body}
            return status, body, False
        finally:
            with self.keys_lock:
                self.keys_in_use.discard(key)

    def repeat(self, known: dict[str, Any], asked: str) -> tuple[int, Any, bool]:
        if known["asked"] != asked:
            words = "Keys for idempotent requests can only be used with the same parameters they were first used with."
            return 400, key_error(None, words), False
        return known["status"], known["body"], True

    def perform(self, method: str, path: str, encoded: str) -> tuple[int, Any]:
        with self.account.lock:
            try:
                params = Params.parse(encoded)
                return 200, expanded(self.account, answer(self.account, method, path, params), params)
            except Refused as refusal:
                return refusal.status, refusal.as_json()
            finally:
                self.account.save()


def key_error(code: str | None, message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "idempotency_error"} | ({"code": code} if code else {})}


class _Handler(BaseHTTPRequestHandler):
    server: PretendStripe
    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # head and body in one packet, or the client waits for its own acknowledgement
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.handle_call("GET")

    def do_POST(self) -> None:
        self.handle_call("POST")

    def do_DELETE(self) -> None:
        self.handle_call("DELETE")

    def handle_call(self, method: str) -> None:
        split = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        encoded = body if method == "POST" else split.query
        if not split.path.startswith("/v1/"):
            with self.server.account.lock:
                page = pages.show(self.server.account, method, split.path, Params.parse(encoded), self.server.webhooks)
                self.server.account.save()
            return self.say(page.status, page.content, page.headers)
        call = f"{method} {split.path}"
        if refusal := self.unauthorized():
            return self.say_json(401, refusal.as_json())
        if strikes(self.server.faults.broken, call):
            return self.say_json(500, Refused("Something went wrong.", type="api_error").as_json())
        key, version = self.headers.get("Idempotency-Key"), self.headers.get("Stripe-Version") or API_VERSION
        status, answer, replayed = self.server.respond(method, split.path, encoded, key, version)
        self.server.calls.append(Call(method, split.path, Params.parse(encoded), key, version, status, replayed))
        if strikes(self.server.faults.lost, call):
            self.close_connection = True
            return None
        extra = {"Stripe-Version": version, "Request-Id": f"req_{secrets.token_hex(7)}"}
        extra |= {"Idempotency-Key": key} if key else {}
        return self.say_json(status, answer, extra | ({"Idempotent-Replayed": "true"} if replayed else {}))

    def unauthorized(self) -> Refused | None:
        scheme, _, key = self.headers.get("Authorization", "").partition(" ")
        if scheme == "Bearer" and key and self.server.secret_key in ("", key):
            return None
        shown = f"{key[:8]}{'*' * 12}{key[-4:]}" if key else "none"
        return Refused(f"Invalid API Key provided: {shown}", status=401)

    def say_json(self, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(answer, indent=2).encode()
        self.say(status, content, {"Content-Type": "application/json"} | (headers or {}))

    def say(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def pretend_stripe(**options: Any) -> Iterator[PretendStripe]:
    """Serve a fresh pretend Stripe for as long as the block runs."""
    with PretendStripe(**options) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield server
        finally:
            server.webhooks.stopping.set()
            server.shutdown()
