"""How our rows come to say what Stripe says, whatever was heard, however often and in what order.

An event is only a nudge. It names an object; that object is read from Stripe, with no transaction open, and what it
says now is applied in one transaction with its credits. Each row counts its changes in `revision`: what was read before
the row's last change is thrown away and read again, so nothing old is ever written over something newer.

Such a transaction first writes the event's row, if an event led to it: a second delivery waits there. Then it locks our
own row, after that the wallet, and last the account, where its plan may change.
"""

from collections.abc import Callable
from typing import TypeAlias

from django.db import transaction

Change: TypeAlias = Callable[[], list[str]]  # applies what was read and returns what it changed, for people

TRIES = 5


class Stale(Exception):
    """Our row was changed after Stripe was read."""


class Busy(Exception):
    """Our row changes all the time; try again later."""


def settle(
    read: Callable[[], Change | None], alongside: Callable[[bool], None] | None = None, *, keep: bool = True
) -> list[str] | None:
    """Read from Stripe and apply what it says; return what was changed, or None when it is nobody's here.

    `alongside` writes what must be in the same transaction and is told whether there was anything to apply. Without
    `keep` everything is rolled back: then this only says what would change.

    Raises:
        Busy, GatewayUnavailable, GatewayRefused: nothing was written.
    """
    for _ in range(TRIES):
        change = read()
        try:
            with transaction.atomic():
                if alongside:
                    alongside(change is not None)
                done = change() if change else None
                if not keep:
                    transaction.set_rollback(True)
            return done
        except Stale:
            continue
    raise Busy
