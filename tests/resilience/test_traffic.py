"""Mixed traffic, good and bad, through the real web server while every process is killed: nothing is lost, no 500.

`TRAFFIC_REQUESTS=10000 .venv/bin/pytest tests/resilience/test_traffic.py` sends as many as one likes.
"""

import json
import os
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from itertools import count
from typing import Any

import pytest

from tests.resilience.receiver import Receiver
from tests.resilience.site import Site, eventually

REQUESTS = int(os.environ.get("TRAFFIC_REQUESTS", "120"))
CALLERS = 8
MIX = {"make": 30, "again": 10, "fetch": 25, "cancel": 8, "load": 7, "bad": 10, "invalid": 10}  # percent
KILLED = ("io", "webhooks", "clock", "valkey", "web")  # one after another, spread over the traffic
BAD = [
    ("text2img", b"{", {}),
    ("text2img", b'{"prompt": "a cat"}', {}),
    ("text2img", b'{"key": "sk_nobody", "prompt": "a cat"}', {}),
    ("nonsense", b"{}", {}),
    ("fetch/x", b"\xff\xfe", {"Content-Type": "application/json"}),
    ("img2img", b"a=1&" * 300, {"Content-Type": "application/x-www-form-urlencoded"}),
]


class Traffic:
    """What callers do, and what they were answered."""

    def __init__(self, site: Site, key: str, receiver: Receiver) -> None:
        self.site, self.key, self.receiver = site, key, receiver
        self.statuses: Counter[int] = Counter()
        self.unanswered = 0
        self.pks: list[int] = []

    def send(self, k: int) -> None:
        luck = random.Random(k)
        [kind] = luck.choices([*MIX], [*MIX.values()])
        pk = luck.choice(self.pks or [0])
        body: dict[str, Any] = {"key": self.key}
        match kind:
            case "make":
                body |= self.request(k) | {"webhook": f"http://{self.receiver.host}/"}
            case "again":
                body |= self.request(0) | {"idempotency_key": "one"}
            case "invalid":
                body |= self.request(k) | {"samples": 99}
        paths = {"fetch": f"fetch/{pk}", "cancel": f"cancel/{pk}", "load": "system_load"}
        if kind == "bad":
            self.call(*luck.choice(BAD))
        else:
            self.call(paths.get(kind, "text2img"), json.dumps(body).encode(), {"Content-Type": "application/json"})

    def request(self, k: int) -> dict[str, Any]:
        return {"prompt": "a cat", "width": 64, "height": 64, "num_inference_steps": 1, "seed": k, "track_id": k}

    def call(self, path: str, body: bytes, headers: dict[str, str]) -> None:
        connection = HTTPConnection("127.0.0.1", self.site.port, timeout=60)
        try:
            connection.request("POST", f"/api/v3/{path}", body, headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, HTTPException):  # web was killed: a caller does not know what became of it
            self.unanswered += 1
            time.sleep(0.2)
            return
        finally:
            connection.close()
        self.statuses[response.status] += 1
        if answer.get("status") == "processing":
            self.pks.append(int(answer["id"]))


@pytest.mark.timeout(3600 if REQUESTS > 1000 else 400)
def test_mixed_traffic_while_every_process_is_killed(site: Site, receiver: Receiver) -> None:
    key = site.create_customer("traffic@example.org")
    code = "from billing import ledger; from accounts.models import User; "
    code += "ledger.grant(User.objects.get(email='traffic@example.org').pk, 1000000, 'test:traffic')"
    site.manage("shell", "--no-imports", "-c", code)
    site.keep_gpu()
    traffic, numbers = Traffic(site, key, receiver), count()

    with ThreadPoolExecutor(CALLERS) as callers:
        calls = [callers.submit(lambda: traffic.send(next(numbers))) for _ in range(REQUESTS)]
        for k, name in enumerate(KILLED):
            share = (k + 0.5) / (len(KILLED) + 1)
            eventually(lambda share=share: sum(call.done() for call in calls) >= share * REQUESTS, seconds=3600)
            site.kill(name)
            site.kill_gpus()
            time.sleep(2)
        for call in calls:
            call.result()
    eventually(site.is_idle, seconds=1200)

    mine = "account_id = (SELECT id FROM accounts_user WHERE email = 'traffic@example.org')"
    states = dict(site.rows(f"SELECT status, count(*) FROM generation_generation WHERE {mine} GROUP BY status"))
    once = site.rows(f"SELECT count(*) FROM generation_idempotencykey WHERE {mine}")
    assert set(traffic.statuses) == {200}, traffic.statuses
    assert sum(traffic.statuses.values()) + traffic.unanswered == REQUESTS
    assert set(states) <= {"success", "failed", "canceled"}
    assert len(set(traffic.pks)) <= sum(states.values())
    assert states["success"] > 0
    assert once == [(1,)]
    assert "all sums are right" in site.manage("check_ledger")
