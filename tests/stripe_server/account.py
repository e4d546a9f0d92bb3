"""The state of the pretend Stripe: its objects, its events, and the lock that guards them."""

import copy
import json
import secrets
import string
import time
from pathlib import Path
from threading import RLock
from typing import Any

from tests.stripe_server.errors import missing

Object = dict[str, Any]

API_VERSION = "2026-10-28.endive"  # of answers and events, unless a request names another
LETTERS = string.ascii_letters + string.digits
PREFIXES = {
    "billing_portal.configuration": "bpc",
    "billing_portal.session": "bps",
    "charge": "ch",
    "checkout.session": "cs_test",
    "coupon": "co",
    "customer": "cus",
    "dispute": "dp",
    "event": "evt",
    "invoice": "in",
    "invoice_payment": "inpay",
    "item": "li",
    "line_item": "il",
    "payment_intent": "pi",
    "payment_method": "pm",
    "price": "price",
    "product": "prod",
    "promotion_code": "promo",
    "refund": "re",
    "setup_intent": "seti",
    "subscription": "sub",
    "subscription_item": "si",
}


class Account:
    """One Stripe account. Whoever reads or changes it holds `lock`; functions of the other modules expect that."""

    def __init__(self, url: str = "", keep: Path | None = None) -> None:
        self.lock = RLock()
        self.url = url  # of the server, for the links in objects
        self.id = "acct_1Pretend"
        self.keep = keep  # a file that outlives the process, for development
        self.forget()
        if keep and keep.exists():
            self.state |= json.loads(keep.read_text())

    def forget(self) -> None:
        """Begin anew, without objects and events."""
        self.state: dict[str, Any] = {
            "objects": {},  # id → object, oldest first
            "numbers": {},  # payment method → its card number, which decides what becomes of charges
            "pending": [],  # events that the webhook endpoint has not accepted yet
            "answers": {},  # idempotency key → what was answered
            "ahead_seconds": 0,  # how far the clock was moved
        }

    @property
    def objects(self) -> dict[str, Object]:
        return self.state["objects"]

    @property
    def numbers(self) -> dict[str, str]:
        return self.state["numbers"]

    @property
    def pending(self) -> list[Object]:
        return self.state["pending"]

    @property
    def answers(self) -> dict[str, Any]:
        return self.state["answers"]

    def save(self) -> None:
        if self.keep:
            draft = self.keep.with_suffix(".draft")
            draft.touch(mode=0o600)
            draft.write_text(json.dumps(self.state))
            draft.rename(self.keep)

    def now(self) -> int:
        return int(time.time()) + self.state["ahead_seconds"]

    def new(self, kind: str, **fields: Any) -> Object:
        """Add an object with a fresh id; `fields` are all that it has beside id, object, created and livemode."""
        id = fields.pop("id", None) or new_id(kind)
        self.objects[id] = {"id": id, "object": kind, "created": self.now(), "livemode": False} | fields
        return self.objects[id]

    def all(self, kind: str) -> list[Object]:
        return [thing for thing in self.objects.values() if thing["object"] == kind]

    def get(self, kind: str, id: Any, param: str = "id") -> Object:
        """Return an object of this kind.

        Raises:
            Refused: there is none; 404 where the address names it, 400 where a parameter does.
        """
        found = self.objects.get(id) if isinstance(id, str) else None
        if found is None or found["object"] != kind:
            refusal = missing(kind.replace(".", " ").replace("_", " "), id, param)
            refusal.status = 404 if param == "id" else 400
            raise refusal
        return found

    def emit(self, type: str, thing: Object, before: Object | None = None) -> Object:
        """Record an event about the object as it is now; `before` holds what its changed fields were."""
        data: Object = {"object": public(thing)}
        if before is not None:
            data["previous_attributes"] = before
        event = self.new(
            "event",
            api_version=API_VERSION,
            context=None,
            data=data,
            pending_webhooks=1,
            request={"id": None, "idempotency_key": None},
            type=type,
        )
        self.pending.append(copy.deepcopy(event))
        return event

    def change(self, thing: Object, type: str | None, **fields: Any) -> None:
        """Change fields of an object and say so in an event, if `type` names one."""
        before = {name: thing.get(name) for name, value in fields.items() if thing.get(name) != value}
        thing |= fields
        if type and before:
            self.emit(type, thing, before)


def public(value: Any) -> Any:
    """Return a deep copy without what only this server knows: names with an underscore in front."""
    if isinstance(value, dict):
        return {name: public(inside) for name, inside in value.items() if not name.startswith("_")}
    return [public(item) for item in value] if isinstance(value, list) else value


def new_id(kind: str) -> str:
    return f"{PREFIXES[kind]}_{''.join(secrets.choice(LETTERS) for _ in range(24))}"


def secret_of(id: str) -> str:
    """Return a client secret as Stripe forms it."""
    return f"{id}_secret_{''.join(secrets.choice(LETTERS) for _ in range(24))}"
