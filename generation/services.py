"""The life of a generation: submit, claim, renew, finish. The only module that changes a Generation's state.

Every change of state is one conditional UPDATE, and what must go with it (credits, the webhook) is in the same
transaction; Redis is told after the commit. A claim is a lease under an attempt number: whoever holds an old number
can write nothing, so a worker that was given up and comes back late can neither publish nor charge.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial, reduce
from operator import or_
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Case, F, Q, QuerySet, When
from django.utils import timezone

from accounts import quotas
from accounts.models import ApiKey, User
from billing import ledger
from config import sql
from generation import estimate, fairness, idempotency, pricing, queue, storage
from generation.idempotency import Repeatable
from generation.models import LIVE, Generation, Status
from generation.params import Inputs, Params
from generation.serving import served_model
from generation.webhooks import outbox

TRY_AGAIN = "Failed, Try Again"
CLAIM = """
    UPDATE generation_generation
    SET status = 'processing', lease_until = %s, attempt = attempt + 1, started_at = %s, computed_at = NULL, step = 0
    WHERE id = %s AND status = 'queued' AND inputs_ready
    RETURNING *
"""
FETCH_LEASE = timedelta(seconds=60)  # two images, each within its deadline, and stored


class NotReproducible(Exception):
    """The generation can't be made again and compared; the text says why."""


def submit(
    account: User,
    params: Params,
    inputs: Inputs,
    track_id: str | int | float | None = None,
    webhook_url: str = "",
    api_key: ApiKey | None = None,
    repeatable: Repeatable | None = None,
    reproduces: Generation | None = None,
    limits: quotas.Limits | None = None,
) -> Generation:
    """Record the generation, hold its credits, count it and ring the queue, or do none of these.

    `api_key` is what the caller showed; a person who is logged in shows none. What it `reproduces` it is compared with.
    `limits` are the account's, where the caller has just looked them up.

    Raises:
        AccountSuspended, InsufficientCredits, RateLimited, QuotaExceeded, SpendingCapReached, IdempotencyKeyReused:
            nothing was written.
        AlreadySubmitted: nothing was written either; it carries the earlier generation under the same key.
    """
    quotas.refuse_suspended(account)
    generation = Generation(
        account=account,
        api_key=api_key,
        params=params.as_json(),
        init_image_url=inputs.init_image_url,
        init_image_name=inputs.init_image_name,
        mask_image_url=inputs.mask_image_url,
        mask_image_name=inputs.mask_image_name,
        inputs_ready=inputs.ready,
        track_id=track_id,
        webhook_url=webhook_url,
        reproduces=reproduces,
        held_credits=pricing.credits(params),
    )
    generation.expected_at = generation.created_at + timedelta(seconds=estimate.eta_seconds(generation))
    generation.counted_on = today = quotas.today(account)
    allowed = limits or quotas.limits(account)
    live_ones = partial(live, account)
    with transaction.atomic():
        generation.save(force_insert=True)
        queue.ring(generation)  # the first thing after the commit, so that a worker begins while the rest is seen to
        if repeatable:
            idempotency.remember(generation, repeatable)
        ledger.hold(account.pk, generation.held_credits, generation.cause)
        # The wallet is locked now: the account's next submission waits until this one is over, and then counts it.
        quotas.admit(account, api_key, params.samples, generation.held_credits, live_ones, allowed, today)
        outbox.record_submission(generation)
    return generation


def reproduce(original: Generation, api_key: ApiKey, repeatable: Repeatable | None = None) -> Generation:
    """Submit a generation again as it was, to be compared with the first; it costs what it costs.

    Its start image is a copy: deleting one of both takes nothing from the other.

    Raises:
        NotReproducible: nothing was written.
        As submit.
    """
    params = original.parameters
    if original.status != Status.SUCCESS:
        raise NotReproducible("Only a generation that succeeded can be made again.")
    if original.images_expired_at:
        raise NotReproducible("Its images are no longer stored, so there is nothing to compare with.")
    if original.model != served_model():
        raise NotReproducible(f"It was made by {original.model}, and {served_model()} is served now.")
    names = (original.init_image_name, original.mask_image_name)
    try:
        init_image, mask_image = (storage.read_input(name) if name else None for name in names)
    except storage.FileLost:
        raise NotReproducible("Its start image is no longer stored.") from None
    with storage.kept_inputs(init_image, mask_image) as inputs:
        return submit(original.account, params, inputs, api_key=api_key, repeatable=repeatable, reproduces=original)


def live(account: User) -> int:
    """Return how many of the account's generations are not over."""
    return Generation.objects.filter(account=account, status__in=LIVE).count()


def inputs_fetched(pk: int, init_image_name: str, mask_image_name: str) -> bool:
    """Note where the fetched inputs are and let a gpu worker begin; False when the generation no longer waits."""
    with transaction.atomic():
        waiting = Generation.objects.filter(pk=pk, status=Status.QUEUED, inputs_ready=False)
        won = waiting.update(
            init_image_name=init_image_name,
            mask_image_name=mask_image_name,
            inputs_ready=True,
            nudged_at=timezone.now(),
            fetched_at=timezone.now(),
        )
        if won:
            queue.ring(Generation.objects.get(pk=pk))
    return bool(won)


def claim(pk: int) -> Generation | None:
    """Take a queued generation for this worker under a new attempt number, or None when there is nothing to take."""
    now = timezone.now()
    with transaction.atomic():
        lease_until = now + timedelta(seconds=settings.LEASE_SECONDS)
        generation = sql.row(Generation, CLAIM, lease_until, now, pk)
        if generation:
            outbox.record(generation)
    return generation


def claim_next() -> Generation | None:
    """Take the generation whose turn it is, or None when nothing waits."""
    while turns := fairness.to_make():
        for pk in turns:
            if generation := claim(pk):
                return generation
    return None


def claim_next_fetch() -> Generation | None:
    """Take the generation whose links are to be fetched next, or None when none waits; the claim lapses by itself."""
    now = timezone.now()
    for pk in fairness.to_fetch():
        idle = Q(fetch_lease_until=None) | Q(fetch_lease_until__lte=now)
        waiting = Generation.objects.filter(idle, pk=pk, status=Status.QUEUED, inputs_ready=False)
        if waiting.update(fetch_lease_until=now + FETCH_LEASE):
            return Generation.objects.get(pk=pk)
    return None


def claimed(generation: Generation) -> QuerySet[Generation]:
    """Return the row as long as this claim on it holds: what a worker may write to."""
    return Generation.objects.filter(pk=generation.pk, status=Status.PROCESSING, attempt=generation.attempt)


def renew(steps: Sequence[tuple[Generation, int]]) -> list[bool]:
    """Prolong claims and show the steps that each has done; tell which were not lost (canceled, or taken back)."""
    if not steps:
        return []
    done = [(Q(pk=generation.pk, attempt=generation.attempt), step) for generation, step in steps]
    rows = Generation.objects.filter(reduce(or_, (claim for claim, _ in done)), status=Status.PROCESSING)
    lease_until = timezone.now() + timedelta(seconds=settings.LEASE_SECONDS)
    rows.update(lease_until=lease_until, step=Case(*(When(claim, then=step) for claim, step in done)))
    kept = set(rows.values_list("pk", "attempt"))
    return [(generation.pk, generation.attempt) in kept for generation, _ in steps]


def hand_back(generation: Generation) -> bool:
    """Return a claimed generation to the head of the queue, since this worker must stop; the attempt does not count.

    Its number is free again: whoever held it gave it up here, and every claim that was lost has a lower one.
    """
    with transaction.atomic():
        won = claimed(generation).update(
            status=Status.QUEUED, attempt=F("attempt") - 1, lease_until=None, nudged_at=timezone.now()
        )
        if won:
            # By the number given up: the job of the one before may be what this worker is at, and ends with it. So the
            # sweep, which asks by the row's number, may ring once more.
            queue.ring(generation, at_front=True)
    return bool(won)


def succeed(
    generation: Generation,
    nsfw: Sequence[bool],
    compute_seconds: float,
    accelerator_seconds: float,
    model: str,
    model_revision: str,
    vae: str,
    computed_at: datetime | None = None,
    largest_difference: int | None = None,
) -> bool:
    """End a claimed generation whose images are stored: charge the images that were delivered and release the rest.

    Its `step` says how many it took.
    """
    blanked_images = sum(nsfw)
    charged_credits = pricing.image_credits(generation.parameters) * (len(nsfw) - blanked_images)
    return end(
        claimed(generation),
        generation.pk,
        generation,
        status=Status.SUCCESS,
        step=generation.step,
        charged_credits=charged_credits,
        nsfw=list(nsfw),
        blanked_images=blanked_images,
        computed_at=computed_at,
        largest_difference=largest_difference,
        compute_seconds=compute_seconds,
        accelerator_seconds=accelerator_seconds,
        model=model,
        model_revision=model_revision,
        vae=vae,
    )


def fail(generation: Generation, message: str = TRY_AGAIN, model: str = "") -> bool:
    """End a claimed generation that `model` can't make; nothing is charged. `message` is shown to the caller."""
    return end(claimed(generation), generation.pk, status=Status.FAILED, message=message, model=model)


def refuse_inputs(pk: int, message: str) -> bool:
    """End a queued generation whose start image can't be used; nothing is charged."""
    waiting = Generation.objects.filter(pk=pk, status=Status.QUEUED, inputs_ready=False)
    return end(waiting, pk, status=Status.FAILED, message=message)


def cancel(pk: int) -> bool:
    """End a generation that is not over yet; nothing is charged. A running worker notices and stops."""
    return end(Generation.objects.filter(pk=pk, status__in=LIVE), pk, status=Status.CANCELED, message="Canceled")


def retry(generation: Generation) -> bool:
    """Queue a claimed generation again after a fault that may pass, or give it up after MAX_ATTEMPTS."""
    return queue_again(claimed(generation), generation.pk, generation.attempt)


def take_back(pk: int, attempt: int) -> bool:
    """Queue again a generation whose worker went silent, or give it up after MAX_ATTEMPTS."""
    lapsed = Generation.objects.filter(pk=pk, status=Status.PROCESSING, attempt=attempt, lease_until__lt=timezone.now())
    return queue_again(lapsed, pk, attempt)


def queue_again(rows: QuerySet[Generation], pk: int, attempt: int) -> bool:
    if attempt >= settings.MAX_ATTEMPTS:
        return end(rows, pk, status=Status.FAILED, message=TRY_AGAIN)
    with transaction.atomic():
        won = rows.update(status=Status.QUEUED, lease_until=None, nudged_at=timezone.now())
        if won:
            queue.ring(Generation.objects.get(pk=pk), at_front=True)
    return bool(won)


def end(rows: QuerySet[Generation], pk: int, known: Generation | None = None, **changes: Any) -> bool:
    """Move the row into a final state if it is still among `rows`, with its credits and its webhook; tell whether.

    What a worker claimed is `known` and need not be read again: nobody else changes it meanwhile.
    """
    changes |= {"finished_at": timezone.now(), "lease_until": None}
    with transaction.atomic():
        if not rows.update(**changes):
            return False
        generation = known or Generation.objects.get(pk=pk)
        for name, value in changes.items():
            setattr(generation, name, value)
        ledger.settle(generation.cause, generation.charged_credits)
        if generation.counted_on:
            images = 0 if generation.status == Status.SUCCESS else generation.params["samples"]
            credits = generation.held_credits - generation.charged_credits
            quotas.give_back(generation.account_id, generation.api_key_id, images, credits, generation.counted_on)
        outbox.record(generation)
        queue.announce_end(generation)
    return True
