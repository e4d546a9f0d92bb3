"""Packs everything that the site holds of an account; the only module that writes Export."""

import logging
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from accounts import packing, queue
from accounts.holdings import File, Holding, holdings
from accounts.models import Export, User
from accounts.packing import Parcel
from config.heart import Heart

logger = logging.getLogger(__name__)

LIFE = timedelta(days=7)  # of a finished export
REST = timedelta(hours=1)  # of its life once a newer one is finished: it may just be being downloaded
PATIENCE = timedelta(minutes=2)  # without a word from its worker, an export is begun again
WORD_SECONDS = 20  # between two signs of life
MOST_ATTEMPTS = 3
ROWS_BETWEEN_NOTES = 50


class ClaimLost(Exception):
    """Another worker has taken the export over, or it was deleted."""


def request(user: User) -> Export:
    """Return the export that is being made for the account, begun now if there is none, or just finished."""
    try:
        with transaction.atomic():
            export = Export.objects.create(user=user)
            queue.ring("export", export.pk)
    except IntegrityError:
        export = user.exports.latest("pk")
    return export


def run(pk: int) -> None:
    """Make an export that waits; when another one runs, it goes on waiting."""
    export = claim(pk)
    if export is None:
        return
    mine = Export.objects.filter(pk=pk, attempt=export.attempt, state=Export.State.RUNNING)
    try:
        with Heart("an export") as heart, heart.beating(partial(say_a_word, mine), WORD_SECONDS), Parcel() as parcel:
            pack(export, parcel)
    except ClaimLost:
        logger.warning("%s was taken over.", export)
        return
    except Exception:  # the edge of the job: the owner sees that it failed, the log says why
        logger.exception("%s failed.", export)
        mine.update(state=Export.State.FAILED, finished_at=timezone.now())
    else:
        now = timezone.now()
        ready = {"state": Export.State.READY, "parts": parcel.parts, "finished_at": now, "expires_at": now + LIFE}
        if mine.update(done=F("total"), **ready):
            replace_older(export)
        else:
            packing.remove(parcel.parts)
    ring_next()


def say_a_word(mine: QuerySet[Export]) -> None:
    """Tell that the worker lives: a large part may be stored for longer than anybody's patience."""
    mine.update(touched_at=timezone.now())


def claim(pk: int) -> Export | None:
    waiting = Export.objects.filter(pk=pk, state=Export.State.WAITING)
    try:
        with transaction.atomic():
            won = waiting.update(
                state=Export.State.RUNNING, attempt=F("attempt") + 1, done=0, touched_at=timezone.now()
            )
    except IntegrityError:  # one runs at a time
        return None
    return Export.objects.select_related("user").get(pk=pk) if won else None


def pack(export: Export, parcel: Parcel) -> None:
    """Put every holding's rows and then its files into the parcel, and a list of the files that can't be read.

    Raises:
        ClaimLost
    """
    user, progress = export.user, Progress(export)
    missing = []
    progress.expect(sum(h.rows(user).count() * (2 if h.files else 1) for h in holdings))
    for holding in holdings:
        parcel.add_lines(f"{holding.name}.jsonl", lines(holding, user, progress))
        for file in files(holding, user, progress):
            try:
                data = file.read()
            except Exception:  # each storage library has errors of its own
                logger.exception("%s can't be read for %s.", file.name, export)
                missing.append(file.name)
                continue
            parcel.add(file.name, data)
    if missing:
        words = "These could not be read:\n" + "".join(f"{name}\n" for name in missing)
        parcel.add("missing.txt", words.encode())


def lines(holding: Holding, user: User, progress: "Progress") -> Iterator[dict[str, Any]]:
    for row in holding.rows(user).order_by("pk").iterator(chunk_size=500):
        yield holding.row(row)
        progress.step()


def files(holding: Holding, user: User, progress: "Progress") -> Iterator[File]:
    if holding.files:
        for row in holding.rows(user).order_by("pk").iterator(chunk_size=500):
            yield from holding.files(row)
            progress.step()


class Progress:
    """Writes down how far an export is, and notices when the claim on it is lost."""

    def __init__(self, export: Export) -> None:
        self.mine = Export.objects.filter(pk=export.pk, attempt=export.attempt, state=Export.State.RUNNING)
        self.done = 0

    def expect(self, total: int) -> None:
        self.write(total=total)

    def step(self) -> None:
        self.done += 1
        if self.done % ROWS_BETWEEN_NOTES == 0:
            self.write(done=self.done)

    def write(self, **changes: Any) -> None:
        if not self.mine.update(touched_at=timezone.now(), **changes):
            raise ClaimLost


def replace_older(export: Export) -> None:
    """Remove what the account had before the export, and the last one that can be downloaded a little later."""
    older = Export.objects.filter(user=export.user_id, pk__lt=export.pk)
    last = older.filter(state=Export.State.READY).order_by("pk").last()
    if last:
        older.filter(pk=last.pk, expires_at__gt=timezone.now() + REST).update(expires_at=timezone.now() + REST)
        older = older.exclude(pk=last.pk)
    delete(older)


def ring_next() -> None:
    waiting = Export.objects.filter(state=Export.State.WAITING).order_by("created_at").first()
    if waiting:
        queue.ring("export", waiting.pk)


def due() -> list[int]:
    """Return the exports that no worker knows of, those of silent workers among them."""
    silent = Export.objects.filter(touched_at__lt=timezone.now() - PATIENCE)
    abandoned = silent.filter(state=Export.State.RUNNING)
    abandoned.filter(attempt__gte=MOST_ATTEMPTS).update(state=Export.State.FAILED, finished_at=timezone.now())
    abandoned.update(state=Export.State.WAITING)
    pks = list(silent.filter(state=Export.State.WAITING).order_by("created_at").values_list("pk", flat=True)[:10])
    Export.objects.filter(pk__in=pks).update(touched_at=timezone.now())
    return pks


def forget() -> None:
    """Remove the exports whose time is over, or that failed long ago."""
    now = timezone.now()
    over = Q(expires_at__lte=now) | Q(state=Export.State.FAILED, finished_at__lte=now - LIFE)
    delete(Export.objects.filter(over))


def remove_unknown_files() -> None:
    """Remove the files that no export names, once they are older than any export that is still being made."""
    known = {part["name"] for parts in Export.objects.values_list("parts", flat=True) for part in parts}
    packing.remove_unknown(known, timezone.now() - timedelta(seconds=queue.JOB_SECONDS))


def delete(exports: Any) -> None:
    """Remove exports and their files; what runs notices by itself."""
    for pk in exports.values_list("pk", flat=True):
        with transaction.atomic():
            export = Export.objects.select_for_update().filter(pk=pk).first()  # as it is now: it may just be finished
            if export:
                packing.remove(export.parts)
                export.delete()
