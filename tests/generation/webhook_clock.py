"""A clock that tests set, and senders of webhooks that make their attempts one after another."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from generation.models import Delivery
from generation.webhooks import sending

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class Clock:
    """Says what time it is."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **amount: float) -> None:
        self.now += timedelta(**amount)


def send_due(most: int = 128) -> int:
    """Make every attempt that is due now; return how many there were."""
    taken = sending.take(most)
    for delivery in taken:
        sending.conclude(delivery, sending.send(delivery))
    return len(taken)


def send_for(clock: Clock, seconds: float) -> int:
    """Let so much time pass and make every attempt when it is due; return how many there were."""
    end, made = clock.now + timedelta(seconds=seconds), 0
    while clock.now <= end:
        sent = send_due()
        made += sent
        soonest = clock.now + timedelta(seconds=0 if sent else 1)
        clock.now = max(soonest, min(next_moment(), end + timedelta(seconds=1)))
    return made


def next_moment() -> datetime:
    """Return when there is something to do again."""
    pending = Delivery.objects.filter(state="pending").exclude(endpoint__is_on=False).select_related("host")
    moments = (max(one.due_at, one.host.open_until or one.due_at) for one in pending)
    return min(moments, default=datetime.max.replace(tzinfo=UTC))


def split(request: bytes) -> tuple[dict[str, str], bytes]:
    """Return the headers, with names in lower case, and the body of a request."""
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}, body


def told(request: bytes) -> Any:
    return json.loads(split(request)[1])


def is_signed(request: bytes, secret: str) -> bool:
    """Tell whether one of the signatures was made with the secret, as the standard describes it."""
    headers, body = split(request)
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return f"v1,{expected}" in headers["webhook-signature"].split(" ")
