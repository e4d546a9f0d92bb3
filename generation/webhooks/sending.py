"""Makes the attempts: takes what is due, sends it, and writes down what came of it.

An attempt is a lease on the delivery's row: a sender that dies half-way costs half a minute and no delivery. Only the
sending itself runs in threads; the database is the main thread's.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from queue import Empty, SimpleQueue

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection, transaction
from django.db.models import Exists, F, Min, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Coalesce, Greatest, Least
from django.utils import timezone
from redis import RedisError

from generation import fetch, queue
from generation.webhooks import circuits, outbox, signing
from generation.webhooks.models import Attempt, Delivery, Endpoint, SilencedUrl

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 15
LEASE = timedelta(seconds=TIMEOUT_SECONDS + 10)  # the slowest attempt is over, and written down
DELAYS_SECONDS = [10, 60, 300, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 24 * 3600]  # the last again and again
LONGEST_RETRY_AFTER = timedelta(days=1)
PASSING_STATUSES = {408, 425, 429}  # with 5xx: worth another try; every other 4xx is final
THREADS = 128  # a slow host has at most circuits.AT_ONCE of them
POLL_SECONDS = 1  # how soon a delivery is taken that became due, or whose note was lost

State = Delivery.State


@dataclass(frozen=True)
class Outcome:
    """What came of one attempt."""

    began_at: datetime
    seconds: float
    headers: dict[str, str]  # as sent, but for the signature
    status: int | None  # HTTP; none: there was no answer
    answer: str  # the beginning of its body, or why there is none
    may_pass: bool  # worth another try
    retry_at: datetime | None = None  # when the receiver asked for it

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def due(now: datetime) -> QuerySet[Delivery]:
    """Return what may be attempted: its time has come, and nothing earlier about the generation is still to be told."""
    pending = Delivery.objects.filter(state=State.PENDING)
    earlier = pending.filter(endpoint=OuterRef("endpoint"), generation=OuterRef("generation"), pk__lt=OuterRef("pk"))
    idle = Q(leased_until=None) | Q(leased_until__lte=now)
    is_on = Q(endpoint=None) | Q(endpoint__is_on=True)
    return pending.filter(idle, is_on, due_at__lte=now).filter(~Exists(earlier))


def waiting_since(now: datetime) -> datetime | None:
    """Return since when the oldest of what may be attempted could have been; None where all was.

    Behind an open circuit nothing may be; once its time is over it is the probe that is waited for.
    """
    askable = due(now).filter(Q(host__open_until=None) | Q(host__open_until__lte=now))
    since = Coalesce(Greatest("due_at", "host__open_until"), "due_at")  # SQLite: null where one is
    at: datetime | None = askable.aggregate(at=Min(since))["at"]
    return at


def take(most: int) -> list[Delivery]:
    """Begin up to `most` attempts, fairly among the hosts; nobody else makes them until their leases end."""
    now = timezone.now()
    taken: list[Delivery] = []
    for host in circuits.ready(due(now), now)[:most]:
        if len(taken) < most:
            taken += take_from(host.pk, most - len(taken), now)
    return taken


@transaction.atomic
def take_from(host_pk: int, most: int, now: datetime) -> list[Delivery]:
    room = min(most, circuits.enter(host_pk, now))
    candidates = due(now).filter(host=host_pk).select_related("event", "account").order_by("due_at", "pk")
    taken = []
    for delivery in candidates[:room]:
        begun = Delivery.objects.filter(pk=delivery.pk, state=State.PENDING, attempts=delivery.attempts)
        delivery.attempts += 1
        if begun.update(attempts=F("attempts") + 1, leased_until=now + LEASE, due_at=now + LEASE):
            taken.append(delivery)
    return taken


def delay_seconds(delivery: Delivery) -> float:
    """Return the wait before the next try, spread by a fifth so that a receiver's callers do not all return at once."""
    made = delivery.attempts - delivery.attempts_before_resend
    return DELAYS_SECONDS[min(made, len(DELAYS_SECONDS)) - 1] * random.uniform(1, 1.2)


def send(delivery: Delivery) -> Outcome:
    """POST the event and return what came of it; touches no row."""
    began_at, begun = timezone.now(), time.monotonic()
    body = outbox.body(delivery)
    headers = signing.headers(delivery.account, delivery.event.message_id, body, began_at)
    status, answer, may_pass, retry_at = None, "", True, None
    try:
        reply = fetch.post(
            delivery.url, body, headers, timeout_seconds=TIMEOUT_SECONDS, allowed_hosts=settings.FETCH_ALLOWED_HOSTS
        )
        status, answer = reply.status, reply.body.decode(errors="replace").replace("\x00", "\N{REPLACEMENT CHARACTER}")
        may_pass = status >= 500 or status in PASSING_STATUSES
        retry_at = asked_for(reply.headers.get("retry-after", ""), began_at) if may_pass else None
    except fetch.FetchRefused as refusal:
        answer, may_pass = str(refusal), refusal.retryable
    return Outcome(began_at, time.monotonic() - begun, signing.loggable(headers), status, answer, may_pass, retry_at)


def asked_for(retry_after: str, now: datetime) -> datetime | None:
    """Return the time that a Retry-After header names, within a day; None when it names none."""
    try:
        at = now + timedelta(seconds=int(retry_after))
    except (ValueError, OverflowError):
        try:
            at = parsedate_to_datetime(retry_after)
        except (ValueError, OverflowError):
            return None
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max(at, now), now + LONGEST_RETRY_AFTER)


@transaction.atomic
def conclude(delivery: Delivery, outcome: Outcome) -> None:
    """Write down what came of an attempt; one that was overtaken by another after its lease counts only if it arrived.

    A 410 switches the address off: an endpoint altogether, a request's `webhook` for its key.
    """
    now = timezone.now()
    Attempt.objects.create(
        delivery=delivery,
        number=delivery.attempts,
        began_at=outcome.began_at,
        seconds=outcome.seconds,
        headers=outcome.headers,
        status=outcome.status,
        answer=outcome.answer,
    )
    settle(delivery, outcome)
    if outcome.status == 410:
        switch_off(delivery)
    if outcome.retry_at:
        pause(delivery, outcome.retry_at)
    if outcome.may_pass and outcome.status != 429:
        circuits.note_failure(delivery.host_id, now)
    else:
        circuits.note_success(delivery.host_id)


def settle(delivery: Delivery, outcome: Outcome) -> None:
    """Write down what becomes of the delivery, and nothing else about the attempt."""
    now = timezone.now()
    pending = Delivery.objects.filter(pk=delivery.pk, state=State.PENDING)
    answer = str(outcome.status) if outcome.status else outcome.answer[:200]
    if outcome.delivered:
        pending.update(state=State.DELIVERED, answer=answer, leased_until=None)
    else:
        mine = pending.filter(attempts=delivery.attempts)
        if outcome.may_pass and now < delivery.give_up_at:
            at = max(now + timedelta(seconds=delay_seconds(delivery)), outcome.retry_at or now)
            mine.update(answer=answer, leased_until=None, due_at=min(at, delivery.give_up_at))
        else:
            mine.update(state=State.GIVEN_UP, answer=answer, leased_until=None)


def pause(delivery: Delivery, until: datetime) -> None:
    """Leave the address alone that asked for it: one account's, for others may have theirs on the same host."""
    now = timezone.now()
    idle = Q(leased_until=None) | Q(leased_until__lte=now)
    same = Delivery.objects.filter(
        idle,
        state=State.PENDING,
        host=delivery.host_id,
        account=delivery.account_id,
        url=delivery.url,
        due_at__lt=until,
    )
    # Rows that another sender holds are left to it: both would wait for each other.
    free = same.select_for_update(skip_locked=True).values("pk")
    Delivery.objects.filter(pk__in=free).update(due_at=Least(Value(until), "give_up_at"))


def switch_off(delivery: Delivery) -> None:
    """Call the address no more, and give up what is still to be told to it."""
    same = Delivery.objects.filter(state=State.PENDING, url=delivery.url, account=delivery.account_id)
    if delivery.endpoint_id:
        Endpoint.objects.filter(pk=delivery.endpoint_id).update(is_on=False, off_reason="It answered 410 Gone.")
        same = same.filter(endpoint=delivery.endpoint_id)
    else:
        key_pk = delivery.generation.api_key_id if delivery.generation else None
        if key_pk is None:
            return
        SilencedUrl.objects.get_or_create(api_key_id=key_pk, url=delivery.url)
        same = same.filter(endpoint=None, generation__api_key=key_pk)
    same.update(state=State.GIVEN_UP, answer=outbox.SILENCED, leased_until=None)


def give_up_old() -> None:
    """Give up what could not be told in time; an attempt that runs decides for itself."""
    now = timezone.now()
    idle = Q(leased_until=None) | Q(leased_until__lte=now)
    late = Delivery.objects.filter(idle, state=State.PENDING, give_up_at__lt=now - 2 * LEASE)
    answer = "Not sent in time: the host could not be reached for too long."
    late.update(state=State.GIVEN_UP, answer=answer, leased_until=None)


class Sender:
    """Sends what is due, as one process of any number; after `stop` it lets what runs end and takes nothing more."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.ended: SimpleQueue[tuple[Delivery, Outcome | None] | None] = SimpleQueue()  # None: only a wake
        self.running = 0

    def run(self) -> None:
        """Work until told to stop."""
        threading.Thread(target=self.listen, name="listen", daemon=True).start()
        with ThreadPoolExecutor(THREADS, thread_name_prefix="send") as pool:
            while not self.stopping.is_set() or self.running:
                try:
                    close_old_connections()
                    self.begin(pool)
                    self.wait()
                except DatabaseError:  # leases bring back what was taken
                    logger.exception("The database is away.")
                    self.stopping.wait(POLL_SECONDS)

    def begin(self, pool: ThreadPoolExecutor) -> None:
        if self.stopping.is_set() or self.running == THREADS:
            return
        for delivery in take(THREADS - self.running):
            self.running += 1
            pool.submit(self.send, delivery)

    def send(self, delivery: Delivery) -> None:
        try:
            self.ended.put((delivery, send(delivery)))
        except Exception:  # its lease lapses, and it is tried again
            logger.exception("An attempt to tell %s failed.", delivery)
            self.ended.put((delivery, None))

    def wait(self) -> None:
        """Write down what ended; return when there is something to take, or a moment later."""
        wait_seconds = float(POLL_SECONDS)
        while True:
            try:
                ended = self.ended.get(timeout=wait_seconds) if wait_seconds else self.ended.get_nowait()
            except Empty:
                return
            wait_seconds = 0.0
            if ended:
                self.conclude(*ended)

    def conclude(self, delivery: Delivery, outcome: Outcome | None) -> None:
        if outcome and not self.is_written(conclude, delivery, outcome):
            self.is_written(settle, delivery, outcome)  # or its lease lapses, and it is tried again
        self.running -= 1

    def is_written(self, write: Callable[[Delivery, Outcome], None], delivery: Delivery, outcome: Outcome) -> bool:
        """Write down what came of an attempt, unless the database is there and refuses."""
        try:
            write(delivery, outcome)
        except Exception:
            if not connection.is_usable():  # what arrived must be known to have arrived
                self.ended.put((delivery, outcome))
                raise
            logger.exception("What came of telling %s can't be written down.", delivery)
            return False
        return True

    def listen(self) -> None:
        """Hear from Redis that there is something to send."""
        while not self.stopping.is_set():
            try:
                queue.await_webhooks(POLL_SECONDS * 3)
                self.ended.put(None)
            except RedisError as error:
                logger.warning("Redis is away (%s); asking the database meanwhile.", error)
                self.stopping.wait(POLL_SECONDS)

    def stop(self) -> None:
        self.stopping.set()
        self.ended.put(None)
