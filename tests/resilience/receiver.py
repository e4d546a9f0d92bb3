"""A customer's server that takes webhooks on loopback and remembers what it said yes to."""

import json
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver(ThreadingHTTPServer):
    """Refuses every third new delivery once, so that retries are among the attempts."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.refused: set[str] = set()
        self.accepted: Counter[str] = Counter()  # webhook-id → how often it got a 2xx
        self.bodies: dict[int, dict[str, Any]] = {}  # generation → what was said of it

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def answer(self, message: str, body: dict[str, Any]) -> int:
        if message not in self.refused and (len(self.refused) + len(self.accepted)) % 3 == 2:
            self.refused.add(message)
            return 503
        self.accepted[message] += 1
        self.bodies[body["id"]] = body
        return 200


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(self.server.answer(self.headers["webhook-id"], body))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass
