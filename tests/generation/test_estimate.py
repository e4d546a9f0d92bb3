"""generation.estimate: rather too long than too short."""

from typing import Any

import pytest

from generation import estimate, services
from generation.models import Generation
from tests.conftest import Api, Person
from tests.generation.conftest import Submit, lapse, row

MARGIN, UNKNOWN = estimate.MARGIN, estimate.UNKNOWN_SECONDS_PER_CREDIT


def succeed(generation: Generation, compute_seconds: float) -> None:
    claim = services.claim(generation.pk)
    assert claim
    services.succeed(claim, [False] * generation.params["samples"], compute_seconds, "tiny", "", "")


def test_it_guesses_before_anything_was_made(submit: Submit) -> None:
    assert estimate.eta_seconds(submit()) == MARGIN * UNKNOWN


def test_it_grows_with_what_is_ahead_and_not_with_what_comes_after(submit: Submit) -> None:
    first, second, third = submit(), submit(samples=3), submit()

    etas = [estimate.eta_seconds(generation) for generation in (first, second, third)]

    assert etas == pytest.approx([MARGIN * UNKNOWN * credits for credits in (1, 4, 5)])


def test_it_learns_from_the_slow_ones_among_the_recent(submit: Submit) -> None:
    for seconds in (2.0, 2.0, 2.0, 8.0):
        succeed(submit(samples=2), seconds)

    assert estimate.eta_seconds(submit()) == pytest.approx(MARGIN * 4.0)


def test_busy_workers_share_what_is_ahead_but_not_the_generation_itself(submit: Submit) -> None:
    for _ in range(2):
        services.claim(submit().pk)
    submit(samples=2)

    eta = estimate.eta_seconds(submit(samples=4))

    assert eta == pytest.approx(MARGIN * UNKNOWN * ((1 + 1 + 2) / 2 + 4))


def test_a_dead_worker_does_not_count(submit: Submit) -> None:
    dead, alive = submit(), submit()
    for generation in (dead, alive):
        services.claim(generation.pk)
    lapse(dead)

    assert estimate.queue_seconds(Generation.objects.all()) == pytest.approx(MARGIN * UNKNOWN * 2)


def test_what_is_over_takes_no_time(submit: Submit) -> None:
    generation = submit()
    services.cancel(generation.pk)

    assert estimate.eta_seconds(row(generation)) == 0.0
    assert estimate.queue_seconds(Generation.objects.none()) == 0.0


@pytest.mark.django_db(transaction=True)
def test_callers_get_their_estimate_while_redis_is_away(api: Api, alice: Person, no_redis: None) -> None:
    body: dict[str, Any] = {"key": alice.key, "prompt": "a cat", "width": 64, "height": 64}

    reply = api.post("text2img", body)
    load = api.post("system_load", {"key": alice.key})

    assert (reply.status_code, reply.json()["status"], reply.json()["eta"]) == (200, "processing", 13.0)
    assert load.json() == {"queue_num": 1, "queue_time": 13, "status": "ok"}
