"""Deletes generations for their owner: hidden at once, and their images and words removed.

The row stays with what the ledger's entries need to be explained: size, steps, seed, times, credits. What the storage
holds is removed by an io worker, and the sweep asks again for what was not. A webhook that is still to be sent is sent
with its words, for somebody waits for it, and then the sweep removes them.
"""

from collections.abc import Iterable
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from generation import history, queue, services, storage
from generation.models import LIVE, Generation, IdempotencyKey
from generation.webhooks import outbox

SAID = {"prompt": "", "negative_prompt": ""}  # what is left of the parameters' words
# What else the caller said, as it is afterwards.
FORGOTTEN = {"init_image_url": "", "mask_image_url": "", "webhook_url": "", "message": "", "track_id": None}
BATCH = 500
REMOVE_AGAIN_SECONDS = 60


def delete(account: User, pks: Iterable[int]) -> int:
    """Delete those of the account's generations and return how many; one that is not over is canceled first."""
    wanted = list(pks)
    for pk in history.own(account).filter(pk__in=wanted, status__in=LIVE).values_list("pk", flat=True):
        services.cancel(pk)
    with transaction.atomic():
        generations = list(history.own(account).filter(pk__in=wanted).select_for_update().order_by("pk"))
        for generation in generations:
            generation.params |= SAID
            generation.deleted_at = timezone.now()
            for name, value in FORGOTTEN.items():
                setattr(generation, name, value)
            queue.ring_removal(generation.pk)
        Generation.objects.bulk_update(generations, ["params", "deleted_at", *FORGOTTEN])
        outbox.forget(generations)
        IdempotencyKey.objects.filter(generation__in=generations).delete()
    return len(generations)


def remove_files(pk: int) -> None:
    """Remove the images and inputs of a deleted generation; doing it twice does no harm."""
    generation = Generation.objects.filter(pk=pk, deleted_at__isnull=False, files_removed_at=None).first()
    if generation is None:
        return
    storage.delete_images(generation)
    storage.delete_inputs(generation)
    Generation.objects.filter(pk=pk).update(files_removed_at=timezone.now(), init_image_name="", mask_image_name="")


def ring_overdue() -> None:
    """Ask again for the removals that nobody did, and that Redis has forgotten."""
    overdue = Generation.objects.filter(
        deleted_at__lt=timezone.now() - timedelta(seconds=REMOVE_AGAIN_SECONDS), files_removed_at=None
    )
    known = queue.known_job_ids("io")
    for pk in overdue.values_list("pk", flat=True)[:BATCH]:
        if queue.removal_job_id(pk) not in known:
            queue.ring_removal(pk)
