"""What is held of an account's generations, and what becomes of it when the account is closed."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

from django.utils import timezone

from accounts.holdings import Farewell, File, Holding, NotYet, farewells, holdings
from accounts.models import User
from generation import archive, services, storage
from generation.erasure import FORGOTTEN, SAID
from generation.models import LIVE, Generation, IdempotencyKey, UsageDay
from generation.webhooks import listening
from generation.webhooks.models import Attempt, Delivery, Endpoint, Event, SilencedUrl

WORDS = "Every image, every start image and every prompt is erased within minutes. What runs now is canceled."
BATCH = 200
SILENCE = timedelta(minutes=1)  # after its end a generation's worker has stopped writing


def register() -> None:
    holdings.extend(
        [
            Holding("generations", lambda user: Generation.objects.filter(account=user), files=files),
            Holding("usage_days", lambda user: UsageDay.objects.filter(account=user)),
            Holding("idempotency_keys", lambda user: IdempotencyKey.objects.filter(account=user)),
            Holding("webhook_endpoints", lambda user: Endpoint.objects.filter(account=user)),
            Holding("webhook_events", lambda user: Event.objects.filter(account=user, is_forgotten=False)),
            Holding("webhook_deliveries", lambda user: Delivery.objects.filter(account=user)),
            Holding("webhook_attempts", lambda user: Attempt.objects.filter(delivery__account=user)),
        ]
    )
    farewells.append(Farewell(WORDS, erase))


def files(generation: Generation) -> Iterator[File]:
    """Yield the images and inputs that the storage still has."""
    if generation.files_removed_at:
        return
    if archive.has_images(generation):
        for k in range(generation.params["samples"]):
            yield File(f"images/{generation.pk}-{k + 1}.png", partial(storage.read_image, generation, k))
    if generation.inputs_expired_at:
        return
    inputs = {"start": generation.init_image_name, "mask": generation.mask_image_name}
    for what, name in inputs.items():
        if name:
            yield File(f"inputs/{generation.pk}-{what}", partial(storage.read_input, name))


def erase(user: User) -> None:
    """Cancel what runs, and erase words and images; the rows stay, without them, to explain the ledger's entries.

    Raises:
        NotYet: a worker may still be writing.
    """
    own = Generation.objects.filter(account=user)
    for pk in own.filter(status__in=LIVE).values_list("pk", flat=True):
        services.cancel(pk)
    for endpoint in Endpoint.objects.filter(account=user):
        listening.delete(endpoint)
    Event.objects.filter(account=user).delete()
    SilencedUrl.objects.filter(api_key__user=user).delete()
    IdempotencyKey.objects.filter(account=user).delete()
    silent = own.filter(files_removed_at=None, finished_at__lt=timezone.now() - SILENCE)
    while batch := list(silent.order_by("pk")[:BATCH]):
        for generation in batch:
            erase_one(generation)
    if own.filter(files_removed_at=None).exists():
        raise NotYet("a worker may still be writing.")


def erase_one(generation: Generation) -> None:
    storage.delete_images(generation)
    storage.delete_inputs(generation)
    now = timezone.now()
    Generation.objects.filter(pk=generation.pk).update(
        params=generation.params | SAID,
        init_image_name="",
        mask_image_name="",
        deleted_at=generation.deleted_at or now,
        files_removed_at=now,
        **FORGOTTEN,
    )
