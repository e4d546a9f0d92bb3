"""Removes what is kept no longer: images and start images by the account's plan, uploads that nothing uses, old events.

Files go first and the row is marked after them, so a run that was cut off is simply made again.
"""

import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import islice

from django.conf import settings
from django.core.files.storage import storages
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.models import Plan
from config import debris
from generation import storage
from generation.models import FINAL, Attempt, Event, Generation, Status

logger = logging.getLogger(__name__)

DELIVERY = timedelta(hours=1)  # what is not to be stored is stored so long: callers and webhooks' receivers fetch it
UNUSED = timedelta(hours=24)  # uploads younger than this may belong to a request that is being submitted
EVENTS = timedelta(days=30)
BATCH = 500


def expire() -> dict[str, int]:
    """Remove everything whose time is over; return how many of each kind."""
    now = timezone.now()
    return {
        "images": sum(remove(rows, remove_images) for rows in over("output_days", now)),
        "inputs": sum(remove(rows, remove_inputs) for rows in over("input_days", now)),
        "attempts": Attempt.objects.filter(began_at__lt=now - EVENTS).delete()[0],
        "events": Event.objects.filter(created_at__lt=now - EVENTS).delete()[0],
    }


def over(kind: str, now: datetime) -> Iterator[QuerySet[Generation]]:
    """Yield the generations whose files of this kind are kept no longer, one plan after another.

    `kind` is a field of Plan; where it is empty, and for accounts without a plan, the site's setting decides.
    """
    default_days: int | None = getattr(settings, f"RETENTION_{kind.upper()}")
    ended = Generation.objects.filter(status__in=FINAL, deleted_at=None)
    if kind == "output_days":
        ended = ended.filter(status=Status.SUCCESS, images_expired_at=None)
    else:
        ended = ended.filter(inputs_expired_at=None).exclude(init_image_name="", mask_image_name="")
    own = {plan: getattr(plan, kind) for plan in Plan.objects.exclude(**{kind: None})}
    for plan, days in own.items():
        yield ended.filter(account__plan=plan, finished_at__lt=now - lifetime(days))
    if default_days is not None:
        rest = ended.filter(Q(account__plan=None) | ~Q(account__plan__in=list(own)))
        yield rest.filter(finished_at__lt=now - lifetime(default_days))


def lifetime(days: int) -> timedelta:
    return timedelta(days=days) or DELIVERY


def remove(rows: QuerySet[Generation], remove_files: Callable[[Generation], None]) -> int:
    """Remove the files of the rows, a batch at a time; what the storage refuses is left for the next run."""
    removed, after = 0, 0
    while batch := list(rows.filter(pk__gt=after).order_by("pk")[:BATCH]):
        for generation in batch:
            try:
                remove_files(generation)
                removed += 1
            except Exception:  # each storage library has errors of its own
                logger.exception("The files of %s could not be removed.", generation)
        after = batch[-1].pk
    return removed


def remove_images(generation: Generation) -> None:
    storage.delete_images(generation)
    Generation.objects.filter(pk=generation.pk).update(images_expired_at=timezone.now())


def remove_inputs(generation: Generation) -> None:
    storage.delete_inputs(generation)
    Generation.objects.filter(pk=generation.pk).update(inputs_expired_at=timezone.now())


def users(names: set[str]) -> QuerySet[Generation]:
    """Return the generations that keep these inputs.

    That a name is not empty is said as well: of more than a hundred PostgreSQL does not see it, and reads every row.
    """
    init = Q(init_image_name__in=names) & ~Q(init_image_name="")
    mask = Q(mask_image_name__in=names) & ~Q(mask_image_name="")
    return Generation.objects.filter(init | mask, inputs_expired_at=None)


def remove_unused_uploads(now: datetime) -> int:
    """Remove uploads that no generation uses, as a process leaves them that dies while it submits."""
    inputs, removed = storages["inputs"], 0
    names = debris.names(inputs, "")
    while batch := set(islice(names, BATCH)):
        used = {name for pair in users(batch).values_list("init_image_name", "mask_image_name") for name in pair}
        removed += debris.remove(inputs, batch - used, now - UNUSED)
    return removed
