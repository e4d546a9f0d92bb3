"""Keeps a worker's claims while their generations are made: all are renewed together."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.conf import settings

from config.heart import Heart
from generation import services
from generation.models import Generation
from generation.progress import SHOW_SECONDS, Show

RENEW_SECONDS = 0.25  # how soon a cancel is noticed, and how fresh the progress is


class LeaseLost(Exception):
    """The claim is gone: canceled, or taken back because this worker was silent for too long."""


class Stopping(Exception):
    """The worker must stop and the generation would take longer than the grace it was given."""


class Lease:
    """A claim that is renewed beside the computing, and interrupts it when it may not go on."""

    def __init__(self, generation: Generation, stopping: threading.Event) -> None:
        self.generation, self.stopping = generation, stopping
        self.show = Show(generation)
        self.step, self.lost = 0, False
        self.renewed_at = time.monotonic()  # it was claimed just now
        self.stop_at = float("inf")  # monotonic seconds

    @contextmanager
    def kept(self, hearts: "Hearts") -> Iterator[None]:
        """Renew the claim and show the progress while the block runs."""
        with hearts.leases.keeping(self), hearts.redis.beating(self.show.beat, SHOW_SECONDS):
            yield

    def confirm(self) -> None:
        """Make sure that nobody else can have the claim now.

        Raises:
            LeaseLost
        """
        if time.monotonic() - self.renewed_at > settings.LEASE_SECONDS / 3:
            renew([self])
        if self.lost:
            raise LeaseLost

    def check(self) -> None:
        """Raise when the work may not go on."""
        if self.lost:
            raise LeaseLost
        if self.stopping.is_set():
            self.stop_at = min(self.stop_at, time.monotonic() + settings.STOP_GRACE_SECONDS)
            if time.monotonic() >= self.stop_at:
                raise Stopping

    def on_step(self, step: int, steps: int) -> None:
        """Note the progress, and end the computing by raising when it may not go on."""
        self.step = step
        self.show.on_step(step, steps)
        self.check()


def renew(leases: list[Lease]) -> None:
    """Prolong the leases and show how far their generations are, or note which are lost."""
    begun = time.monotonic()
    held = services.renew([(lease.generation, lease.step) for lease in leases])
    for lease, is_held in zip(leases, held, strict=True):
        if is_held:
            lease.renewed_at = begun
        else:
            lease.lost = True


class Leases:
    """The leases of a process, which are renewed by one beat: a database with many workers has little to do for it."""

    def __init__(self) -> None:
        self.leases: list[Lease] = []
        self.renewing = threading.Lock()

    @contextmanager
    def keeping(self, lease: Lease) -> Iterator[None]:
        """Renew a lease at every beat while the block runs, and never after it."""
        with self.renewing:
            self.leases.append(lease)
        try:
            yield
        finally:
            with self.renewing:  # a renewal that runs is waited for
                self.leases.remove(lease)

    def beat(self) -> None:
        with self.renewing:
            renew(self.leases)


@dataclass(frozen=True)
class Hearts:
    """What beats beside the generations of a process."""

    leases: Leases
    redis: Heart


@contextmanager
def hearts() -> Iterator[Hearts]:
    """Let hearts beat until the block ends."""
    leases = Leases()
    interval_seconds = min(RENEW_SECONDS, settings.LEASE_SECONDS / 3)
    with (
        Heart("the leases") as database,
        database.beating(leases.beat, interval_seconds),
        Heart("Redis") as redis,
    ):
        yield Hearts(leases, redis)
