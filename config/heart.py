"""Beats while something else works."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from django.db import connections

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Beat:
    """Something that is called again and again."""

    call: Callable[[], object]
    interval_seconds: float
    due: float  # monotonic seconds
    calling: threading.Lock = field(default_factory=threading.Lock)
    is_over: bool = False


class Heart:
    """One thread for the beats of all that is at work at the same time, for as long as its `with` block runs.

    They wait for each other: what may hang, as Redis may, and what must not wait have a heart each. A beat that fails
    is logged and tried again at its next interval: a lapsed lease tells the rest.
    """

    def __init__(self, name: str) -> None:
        self.beats: list[Beat] = []
        self.changed = threading.Condition()
        self.is_stopped = False
        self.thread = threading.Thread(target=self.run, name=f"heart of {name}", daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self.changed:
            self.is_stopped = True
            self.changed.notify()
        self.thread.join()

    @contextmanager
    def beating(self, call: Callable[[], object], interval_seconds: float) -> Iterator[None]:
        """Call `call` every `interval_seconds` while the block runs, the first time after one, and never after it."""
        beat = Beat(call, interval_seconds, time.monotonic() + interval_seconds)
        with self.changed:
            self.beats.append(beat)
            self.changed.notify()
        try:
            yield
        finally:
            with self.changed:
                self.beats.remove(beat)
            with beat.calling:  # one that is being called is waited for
                beat.is_over = True

    def run(self) -> None:
        try:
            while beat := self.next():
                self.call(beat)
        finally:
            connections.close_all()  # this thread's own

    def next(self) -> Beat | None:
        """Wait until a beat is due and return it; None when the heart is stopped."""
        with self.changed:
            while not self.is_stopped:
                beat = min(self.beats, key=lambda each: each.due, default=None)
                now = time.monotonic()
                if beat and beat.due <= now:
                    beat.due = now + beat.interval_seconds
                    return beat
                self.changed.wait(beat.due - now if beat else None)
        return None

    def call(self, beat: Beat) -> None:
        with beat.calling:
            if beat.is_over:
                return
            try:
                beat.call()
            except Exception:  # whatever it is, the work itself must not suffer
                logger.exception("A heartbeat failed.")
                connections.close_all()
