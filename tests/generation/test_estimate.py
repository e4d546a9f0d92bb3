"""generation.estimate: rather too long than too short."""

from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Plan
from billing import ledger
from generation import estimate, pace, queue, services
from generation.models import Generation
from tests.conftest import Api, Person
from tests.generation.conftest import Submit, lapse, row

MARGIN, UNKNOWN, LOADING = estimate.MARGIN, pace.UNKNOWN_SECONDS_PER_CREDIT, queue.UNKNOWN_LOADING_SECONDS


def succeed(generation: Generation, compute_seconds: float) -> None:
    claim = services.claim(generation.pk)
    assert claim
    services.succeed(claim, [False] * generation.params["samples"], compute_seconds, compute_seconds, "tiny", "", "")


def test_it_guesses_before_anything_was_made(submit: Submit) -> None:
    assert estimate.eta_seconds(submit()) == MARGIN * UNKNOWN + LOADING


def test_it_grows_with_what_is_ahead_and_not_with_what_comes_after(submit: Submit) -> None:
    first, second, third = submit(), submit(samples=3), submit()

    etas = [estimate.eta_seconds(generation) for generation in (first, second, third)]

    assert etas == pytest.approx([MARGIN * UNKNOWN * credits + LOADING for credits in (1, 4, 5)])


def test_it_learns_from_the_slow_ones_among_the_recent(submit: Submit) -> None:
    for seconds in (2.0, 2.0, 2.0, 8.0):
        succeed(submit(samples=2), seconds)

    assert estimate.eta_seconds(submit()) == pytest.approx(MARGIN * 4.0 + LOADING)


def test_busy_workers_share_what_is_ahead_but_not_the_generation_itself(submit: Submit, settings: Any) -> None:
    settings.BATCH_IMAGES = 1
    for _ in range(2):
        services.claim(submit().pk)
    submit(samples=2)

    eta = estimate.eta_seconds(submit(samples=4))

    assert eta == pytest.approx(MARGIN * UNKNOWN * ((1 + 1 + 2) / 2 + 4))


def test_a_worker_makes_a_batch_at_once_and_counts_once(submit: Submit, settings: Any) -> None:
    settings.BATCH_IMAGES = 2
    for _ in range(3):
        services.claim(submit().pk)

    assert estimate.ready_workers() == 2


def test_what_is_ahead_counts_by_its_share_and_the_generation_itself_by_the_time_that_passes(submit: Submit) -> None:
    claim = services.claim(submit().pk)
    assert claim
    services.succeed(claim, [False], 8.0, 2.0, "tiny", "", "")
    submit(samples=3)

    assert estimate.eta_seconds(submit()) == pytest.approx(MARGIN * (2.0 * 3 + 8.0) + LOADING)


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


def test_a_worker_that_has_the_model_takes_no_time_to_load_it(submit: Submit) -> None:
    running, waiting = submit(), submit()
    services.claim(running.pk)

    assert estimate.eta_seconds(waiting) == pytest.approx(MARGIN * UNKNOWN * 2)


def test_a_worker_that_has_none_takes_as_long_as_the_last_one_took(submit: Submit) -> None:
    queue.note_loading(4.25)

    assert estimate.eta_seconds(submit()) == pytest.approx(MARGIN * UNKNOWN + 4.2)


def test_anothers_long_queue_is_ahead_only_as_far_as_its_turns_come_first(submit: Submit, person: Any) -> None:
    dora = person("dora", credits=1000)
    running, *_ = [submit() for _ in range(50)]
    services.claim(running.pk)

    hers = [submit(by=dora) for _ in range(2)]

    # What runs, and then one of each in turn, as long as alice has not used more.
    assert estimate.eta_seconds(hers[0]) == pytest.approx(MARGIN * UNKNOWN * (1 + 0 + 1))
    assert estimate.eta_seconds(hers[1]) == pytest.approx(MARGIN * UNKNOWN * (1 + 1 + 1 + 1))


def test_a_heavier_plan_comes_first_more_often(submit: Submit, person: Any) -> None:
    dora = person("dora", credits=1000, plan=Plan.objects.create(name="large", queue_weight=3))
    for _ in range(50):
        submit(by=dora)

    assert estimate.eta_seconds(submit()) == pytest.approx(MARGIN * UNKNOWN * (3 + 1) + LOADING)


def test_how_often_it_held_is_known(submit: Submit) -> None:
    for late in (False, False, True):
        generation = submit()
        succeed(generation, 1.0)
        if late:
            Generation.objects.filter(pk=generation.pk).update(expected_at=generation.created_at)

    assert estimate.held(timedelta(hours=1)) == (2, 3)
    assert estimate.held(timedelta(0)) == (0, 0)


@pytest.mark.django_db(transaction=True)
def test_callers_get_their_estimate_while_redis_is_away(api: Api, alice: Person, no_redis: None) -> None:
    body: dict[str, Any] = {"key": alice.key, "prompt": "a cat", "width": 64, "height": 64}

    reply = api.post("text2img", body)
    load = api.post("system_load", {"key": alice.key})

    assert (reply.status_code, reply.json()["status"], reply.json()["eta"]) == (200, "processing", 28.0)
    assert load.json() == {"queue_num": 1, "queue_time": 28, "status": "ok"}


def test_many_estimates_share_one_look_at_what_others_have_but_not_at_ones_own(
    submit: Submit, bob: Person, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    ledger.grant(bob.user.pk, 10, "test:bob")
    monkeypatch.setattr(estimate, "SIGHT_SECONDS", 3600)
    monkeypatch.setattr(estimate, "latest", None)
    first = estimate.eta_seconds(submit())
    submit(by=bob)
    second = Generation.objects.get(pk=submit().pk)  # as whoever watches it has it: without its account

    with django_assert_num_queries(1):
        own_only = estimate.eta_seconds(second)
    monkeypatch.setattr(estimate, "latest", None)
    everything = estimate.eta_seconds(second)

    etas = [MARGIN * UNKNOWN * credits + LOADING for credits in (1, 2, 3)]
    assert [first, own_only, everything] == pytest.approx(etas)
