"""Shows people how far a generation is: its steps, and small pictures of what it is becoming, by way of Redis.

It is a show and nothing depends on it: nothing is painted or sent unless somebody watches, what is sent lives for a
minute, and while Redis is away the row's own `step` has to do.
"""

import json
import logging
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Self

from PIL import Image
from redis import RedisError

from generation import images, queue
from generation.models import Generation

logger = logging.getLogger(__name__)

CHANNEL = "atelier:progress"  # Progress as JSON, of every generation that is watched
WATCHED_SECONDS = 15  # how long a watcher counts after the last sign of life
KEPT_SECONDS = 60
SHOW_SECONDS = 0.3
DRAFT_SHARE = 0.1  # of the computing time may go into drafts


@dataclass(frozen=True)
class Progress:
    """How far one attempt at a generation is."""

    pk: int
    attempt: int
    step: int
    steps: int
    draft: str = ""  # JPEG as base64
    draft_number: int = 0  # counts the attempt's drafts

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        return cls(**json.loads(text))


def watched_key(pk: int) -> str:
    return f"atelier:watched:{pk}"


def progress_key(pk: int) -> str:
    return f"atelier:progress:{pk}"


def is_watched(pk: int) -> bool:
    """Tell whether somebody looks on; raises RedisError."""
    return bool(queue.redis().exists(watched_key(pk)))


def publish(progress: Progress) -> None:
    """Tell those who watch now, and keep it for those who come; raises RedisError."""
    text = progress.as_json()
    queue.redis().set(progress_key(progress.pk), text, ex=KEPT_SECONDS)
    queue.redis().publish(CHANNEL, text)


class Show:
    """Publishes one attempt's progress by a beat (config.heart), so that Redis never holds up the computing."""

    def __init__(self, generation: Generation) -> None:
        self.now = Progress(generation.pk, generation.attempt, 0, 0)
        self.shown: Progress | None = None
        self.watched = False
        self.draft, self.drafts, self.paints = "", 0, True
        self.painting_seconds, self.started = 0.0, time.monotonic()

    def beat(self) -> None:
        try:
            self.watched = is_watched(self.now.pk)
            now = self.now
            if self.watched and now != self.shown:
                publish(now)
                self.shown = now
        except RedisError as error:
            self.watched = False
            logger.debug("Nobody could be shown the progress: %s", error)

    def on_step(self, step: int, steps: int) -> None:
        """Note how far it is."""
        self.now = Progress(self.now.pk, self.now.attempt, step, steps, self.draft, self.drafts)

    def on_draft(self, paint: Callable[[], Image.Image]) -> None:
        """Paint a draft if somebody watches and it takes no more than its share of the time; none after one fails."""
        started = time.monotonic()
        if not self.watched or not self.paints or self.painting_seconds > DRAFT_SHARE * (started - self.started):
            return
        try:
            self.draft, self.drafts = b64encode(images.encode_draft(paint())).decode(), self.drafts + 1
        except Exception:  # whatever it is, the work itself must not suffer
            logger.exception("A draft of generation %s failed.", self.now.pk)
            self.paints = False
        self.painting_seconds += time.monotonic() - started
