"""Beats while something else works."""

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from django.db import connections

logger = logging.getLogger(__name__)


class Heart:
    """Calls `beat` every `interval_seconds` from a thread for as long as the `with` block runs.

    A beat that fails is logged and tried again at the next interval: a lapsed lease tells the rest.
    """

    def __init__(self, beat: Callable[[], object], interval_seconds: float) -> None:
        self.beat, self.interval_seconds = beat, interval_seconds
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run, name="heart", daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopped.set()
        self.thread.join()

    def run(self) -> None:
        try:
            while not self.stopped.wait(self.interval_seconds):
                try:
                    self.beat()
                except Exception:  # whatever it is, the work itself must not suffer
                    logger.exception("A heartbeat failed.")
                    connections.close_all()
        finally:
            connections.close_all()  # this thread's own
