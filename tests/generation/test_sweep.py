"""generation.sweep: what the clock mends."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from billing import ledger
from config.cron import HeadOfQueue
from generation import queue, services
from generation.models import Generation, Status
from generation.params import Inputs
from generation.sweep import NUDGE_AGAIN_SECONDS, sweep
from tests.conftest import Person
from tests.generation.conftest import Submit, lapse, row

pytestmark = pytest.mark.django_db(transaction=True)  # Redis is told after the commit


def jobs(name: str) -> list[str]:
    return queue.named(name).get_job_ids()


def grow_old(generation: Generation, seconds: float = NUDGE_AGAIN_SECONDS + 1) -> None:
    Generation.objects.filter(pk=generation.pk).update(nudged_at=timezone.now() - timedelta(seconds=seconds))


def test_it_takes_back_what_a_dead_worker_held_and_nothing_else(submit: Submit) -> None:
    dead, alive, waiting = submit(), submit(), submit()
    for generation in (dead, alive):
        services.claim(generation.pk)
    lapse(dead)

    sweep()

    assert [row(generation).status for generation in (dead, alive, waiting)] == [
        Status.QUEUED,
        Status.PROCESSING,
        Status.QUEUED,
    ]


def test_it_gives_up_what_keeps_killing_its_workers(submit: Submit, alice: Person, settings: Any) -> None:
    settings.MAX_ATTEMPTS = 2
    generation = submit()
    for _ in range(2):
        services.claim(generation.pk)
        lapse(generation)
        sweep()

    assert row(generation).status == Status.FAILED
    assert alice.balance == 1000
    assert list(ledger.differences()) == []


def test_it_rings_again_for_what_redis_forgot_in_order(submit: Submit) -> None:
    forgotten = [submit(), submit()]
    link = submit(Inputs(init_image_url="https://example.org/cat.png"), mode="img2img")
    queue.redis().flushdb()
    for generation in (*forgotten, link):
        grow_old(generation)

    sweep()
    sweep()

    assert jobs("gpu") == [f"generate-{generation.pk}-0" for generation in forgotten]
    assert jobs("fetch") == [f"fetch-{link.pk}-0"]


def test_it_leaves_alone_what_redis_knows_and_what_was_rung_just_now(submit: Submit) -> None:
    known, young = submit(), submit()
    grow_old(known)
    queue.redis().lrem("rq:queue:gpu", 0, f"generate-{young.pk}-0")

    sweep()

    assert jobs("gpu") == [f"generate-{known.pk}-0"]


def test_the_clocks_sweep_goes_before_links_and_webhooks(submit: Submit) -> None:
    submit(Inputs(init_image_url="https://example.org/cat.png"), mode="img2img")

    job = HeadOfQueue("fetch", connection=queue.redis()).enqueue(sweep)

    assert jobs("fetch")[0] == job.id
    assert queue.named("fetch").fetch_job(job.id).func_name == "generation.sweep.sweep"  # readable to our workers
