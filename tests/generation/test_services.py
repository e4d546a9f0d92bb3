"""generation.services: every change of state, alone and in races."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import IntegrityError, connection

from accounts.models import KeySpending, Plan, Usage
from accounts.quotas import QuotaExceeded, RateLimited
from billing import ledger
from billing.models import Entry
from generation import queue, services
from generation.models import Delivery, Generation, Status
from generation.params import Inputs
from tests.conftest import Person
from tests.generation.conftest import Submit, everything, lapse, row
from tests.racing import race

in_redis = pytest.mark.django_db(transaction=True)  # Redis is told after the commit
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
LINK = Inputs(init_image_url="https://example.org/cat.png")


def jobs(name: str) -> list[str]:
    return queue.named(name).get_job_ids()


def succeed(claim: Generation, nsfw: list[bool] | None = None) -> bool:
    return services.succeed(claim, nsfw or [False], 1.5, 1.5, "tiny", "main", "AutoencoderKL")


@in_redis
def test_submitting_records_holds_and_rings(submit: Submit, alice: Person) -> None:
    generation = submit(samples=3)

    assert row(generation).status == Status.QUEUED
    assert alice.balance == 997
    assert [(entry.kind, entry.cause) for entry in Entry.objects.filter(credits=-3)] == [("hold", generation.cause)]
    assert jobs("gpu") == [f"generate-{generation.pk}-0"]
    assert jobs("fetch") == []


@in_redis
def test_a_generation_with_a_link_is_fetched_first(submit: Submit) -> None:
    generation = submit(LINK, mode="img2img")

    assert jobs("fetch") == [f"fetch-{generation.pk}-0"]
    assert services.claim(generation.pk) is None
    assert services.inputs_fetched(generation.pk, "init", "") is True
    assert services.inputs_fetched(generation.pk, "other", "") is False
    assert jobs("gpu") == [f"generate-{generation.pk}-0"]
    assert row(generation).init_image_name == "init"


@in_redis
@pytest.mark.parametrize(
    ("limits", "refusal"), [({"requests_per_minute": 0}, RateLimited), ({"images_per_month": 3}, QuotaExceeded)]
)
def test_a_refusal_of_the_quota_leaves_nothing_behind(
    submit: Submit, alice: Person, limits: dict[str, int], refusal: type[Exception]
) -> None:
    alice.user.plan = Plan.objects.create(name="small", **limits)
    alice.user.save()

    with pytest.raises(refusal):
        submit(samples=4, by=alice)

    assert not Generation.objects.exists()
    assert not Usage.objects.filter(count__gt=0).exists()
    assert Entry.objects.count() == 1  # the fixture's grant
    assert alice.balance == 1000
    assert jobs("gpu") == []


@in_redis
def test_a_refusal_of_the_ledger_leaves_nothing_behind(submit: Submit, bob: Person) -> None:
    bob.user.plan = Plan.objects.create(name="small", images_per_month=10)
    bob.user.save()

    with pytest.raises(ledger.InsufficientCredits):
        submit(by=bob)

    assert not Generation.objects.exists()
    assert not Usage.objects.exists()
    assert jobs("gpu") == []


@in_redis
def test_64_racing_submissions_spend_no_more_than_there_is(submit: Submit, bob: Person) -> None:
    ledger.grant(bob.user.pk, 10, "test:bob")

    outcomes = race(64, lambda k: submit(by=bob))

    assert sum(isinstance(outcome, Generation) for outcome in outcomes) == 10
    assert sum(isinstance(outcome, ledger.InsufficientCredits) for outcome in outcomes) == 54
    assert Generation.objects.count() == 10
    assert list(ledger.differences()) == []


@in_redis
def test_one_of_16_racing_workers_gets_the_claim(submit: Submit) -> None:
    generation = submit()

    outcomes = race(16, lambda k: services.claim(generation.pk))

    [claim] = [outcome for outcome in outcomes if outcome is not None]
    assert isinstance(claim, Generation)
    assert (claim.attempt, row(generation).attempt, row(generation).status) == (1, 1, Status.PROCESSING)


def test_success_charges_what_was_delivered(submit: Submit, alice: Person) -> None:
    generation = submit(samples=3)
    claim = services.claim(generation.pk)
    assert claim

    assert succeed(claim, [False, True, False]) is True

    ended = row(generation)
    assert (ended.status, ended.charged_credits, ended.nsfw) == (Status.SUCCESS, 2, [False, True, False])
    assert (ended.model, ended.compute_seconds, ended.lease_until) == ("tiny", 1.5, None)
    assert alice.balance == 998
    assert list(ledger.differences()) == []


@pytest.mark.parametrize("is_claimed", [False, True])
def test_a_canceled_generation_costs_nothing(submit: Submit, alice: Person, is_claimed: bool) -> None:
    generation = submit(samples=2)
    if is_claimed:
        services.claim(generation.pk)

    assert services.cancel(generation.pk) is True

    assert (row(generation).status, row(generation).message) == (Status.CANCELED, "Canceled")
    assert alice.balance == 1000


def test_a_refused_input_ends_the_generation_with_the_reason(submit: Submit, alice: Person) -> None:
    generation = submit(LINK, mode="img2img")

    assert services.refuse_inputs(generation.pk, "The link is dead.") is True

    assert (row(generation).status, row(generation).message) == (Status.FAILED, "The link is dead.")
    assert alice.balance == 1000


def test_what_was_not_delivered_does_not_count_against_the_month(submit: Submit, alice: Person) -> None:
    alice.user.plan = Plan.objects.create(name="small", images_per_month=10)
    alice.user.save()
    kept, dropped = submit(samples=3, by=alice), submit(samples=4, by=alice)
    today = kept.counted_on
    claim = services.claim(kept.pk)
    assert claim

    succeed(claim, [False] * 3)
    services.cancel(dropped.pk)

    images = Usage.objects.exclude(period__contains="T")
    assert dict(images.values_list("period", "count")) == {f"{today}": 3, f"{today:%Y-%m}": 3}
    assert KeySpending.objects.get().count == 3


@pytest.mark.parametrize("final", ["success", "failed", "canceled"])
def test_a_final_state_never_changes(submit: Submit, final: str) -> None:
    generation = submit(webhook_url="https://example.org/")
    claim = services.claim(generation.pk)
    assert claim
    {"success": succeed, "failed": services.fail, "canceled": lambda claim: services.cancel(claim.pk)}[final](claim)
    before, entries = everything(generation), list(Entry.objects.values())

    outcomes = [
        services.claim(generation.pk),
        *services.renew([(claim, 1)]),
        services.hand_back(claim),
        services.retry(claim),
        services.take_back(generation.pk, claim.attempt),
        services.inputs_fetched(generation.pk, "x", "y"),
        services.refuse_inputs(generation.pk, "no"),
        services.fail(claim),
        services.cancel(generation.pk),
        succeed(claim),
    ]

    assert [bool(outcome) for outcome in outcomes] == [False] * 10
    assert before["status"] == final
    assert everything(generation) == before
    assert list(Entry.objects.values()) == entries
    assert Delivery.objects.count() == 1


def test_a_late_worker_can_write_nothing(submit: Submit) -> None:
    generation = submit()
    late = services.claim(generation.pk)
    assert late
    lapse(generation)
    services.take_back(generation.pk, late.attempt)
    current = services.claim(generation.pk)
    assert current
    before = everything(generation)

    assert services.renew([(late, 9)]) == [False]
    assert not services.hand_back(late)
    assert not services.retry(late)
    assert not services.fail(late)
    assert not succeed(late)

    assert everything(generation) == before
    assert Entry.objects.filter(kind__in=["capture", "release"]).count() == 0
    assert succeed(current) is True
    assert Entry.objects.filter(kind="capture").count() == 1


def test_a_claim_that_has_not_lapsed_is_not_taken_back(submit: Submit) -> None:
    claim = services.claim(submit().pk)
    assert claim

    assert services.take_back(claim.pk, claim.attempt) is False

    assert row(claim).status == Status.PROCESSING


def test_renewing_prolongs_the_lease_and_shows_the_progress(submit: Submit) -> None:
    claim = services.claim(submit().pk)
    assert claim
    lapse(claim)

    assert services.renew([(claim, 5)]) == [True]

    assert row(claim).step == 5
    assert services.take_back(claim.pk, claim.attempt) is False


def test_any_number_of_claims_is_renewed_at_once_and_only_those(
    submit: Submit, django_assert_num_queries: Callable[[int], Any]
) -> None:
    first, lost, second, other = [claim for _ in range(4) if (claim := services.claim(submit().pk))]
    services.cancel(lost.pk)
    before = [everything(generation) for generation in (lost, other)]

    with django_assert_num_queries(2):
        assert services.renew([(first, 5), (lost, 6), (second, 7)]) == [True, False, True]

    assert (row(first).step, row(second).step) == (5, 7)
    assert [everything(generation) for generation in (lost, other)] == before


def test_where_nothing_is_claimed_nothing_is_renewed(
    submit: Submit, django_assert_num_queries: Callable[[int], Any]
) -> None:
    claim = services.claim(submit().pk)
    assert claim
    before = everything(claim)

    with django_assert_num_queries(0):
        assert services.renew([]) == []

    assert everything(claim) == before


@in_redis
def test_a_lapsed_claim_is_queued_again_at_the_head(submit: Submit) -> None:
    first, second = submit(), submit()
    claim = services.claim(first.pk)
    assert claim
    lapse(first)

    assert services.take_back(first.pk, claim.attempt) is True

    assert (row(first).status, row(first).lease_until) == (Status.QUEUED, None)
    assert jobs("gpu") == [f"generate-{first.pk}-1", f"generate-{first.pk}-0", f"generate-{second.pk}-0"]


@pytest.mark.parametrize("way", ["take_back", "retry"])
def test_it_is_given_up_after_the_last_attempt_and_the_credits_go_back(
    submit: Submit, alice: Person, settings: Any, way: str
) -> None:
    settings.MAX_ATTEMPTS = 2
    generation = submit()
    states = []
    for _ in range(2):
        claim = services.claim(generation.pk)
        assert claim
        lapse(generation)
        services.retry(claim) if way == "retry" else services.take_back(claim.pk, claim.attempt)
        states.append(row(generation).status)

    assert states == [Status.QUEUED, Status.FAILED]
    assert row(generation).message == "Failed, Try Again"
    assert alice.balance == 1000
    assert list(ledger.differences()) == []


@in_redis
def test_handing_back_does_not_count_as_an_attempt(submit: Submit, settings: Any) -> None:
    settings.MAX_ATTEMPTS = 1
    generation = submit()

    for _ in range(3):
        claim = services.claim(generation.pk)
        assert claim
        assert services.hand_back(claim) is True
        assert (row(generation).status, row(generation).attempt) == (Status.QUEUED, 0)

    assert jobs("gpu")[0] == f"generate-{generation.pk}-1"
    claim = services.claim(generation.pk)
    assert claim
    assert succeed(claim) is True


@in_redis
def test_of_a_cancel_and_a_success_at_once_one_wins(submit: Submit, alice: Person) -> None:
    for _ in range(5):
        before = alice.balance
        claim = services.claim(submit().pk)
        assert claim

        outcomes = race(2, lambda k, claim=claim: succeed(claim) if k else services.cancel(claim.pk))

        assert sorted(outcomes) == [False, True]  # type: ignore[type-var]
        assert row(claim).status == (Status.CANCELED if outcomes[0] else Status.SUCCESS)
        assert before - alice.balance == (0 if outcomes[0] else 1)
    assert list(ledger.differences()) == []


@in_redis
def test_submitting_works_while_redis_is_away(submit: Submit, no_redis: None) -> None:
    generation = submit()

    assert row(generation).status == Status.QUEUED
    assert services.cancel(generation.pk) is True


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"status": "success"}, "finished_exactly_when_final"),
        ({"finished_at": NOON}, "finished_exactly_when_final"),
        ({"status": "processing"}, "processing_has_a_lease"),
        ({"held_credits": 0}, "nothing_is_free"),
        ({"charged_credits": 1}, "only_success_is_charged"),
        ({"charged_credits": 2, "status": "success", "finished_at": NOON}, "never_above_the_price"),
    ],
)
def test_the_database_refuses_a_row_that_makes_no_sense(
    submit: Submit, changes: dict[str, Any], constraint: str
) -> None:
    generation = submit()

    with pytest.raises(IntegrityError, match=constraint):
        Generation.objects.filter(pk=generation.pk).update(**changes)


def test_the_database_refuses_a_state_that_nobody_knows(submit: Submit) -> None:
    generation = submit()
    with connection.cursor() as cursor:  # without the constraint that refuses it as well
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE generation_generation DROP CONSTRAINT finished_exactly_when_final")

    with pytest.raises(IntegrityError, match="status_is_known"):
        Generation.objects.filter(pk=generation.pk).update(status="done")
