"""generation.fairness: whose generation comes next."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.utils import timezone

from accounts.models import Plan
from generation import fairness, services
from generation.models import Generation, Status
from generation.params import Inputs
from tests.conftest import Person
from tests.generation.conftest import Submit
from tests.generation.webhook_clock import Clock
from tests.plans import plans
from tests.racing import race

LINK = Inputs(init_image_url="https://example.org/cat.png")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    clock.now = datetime.now(UTC)
    monkeypatch.setattr(timezone, "now", clock)
    return clock


@pytest.fixture
def dora(person: Callable[..., Person]) -> Person:
    return person("dora", credits=1000)


def work(clock: Clock, seconds: float = 10) -> Generation:
    """Be a worker: take what comes next, and make it."""
    generation = services.claim_next()
    assert generation
    clock.forward(seconds=seconds)
    services.succeed(generation, [False], seconds, seconds, "tiny", "", "")
    return generation


def copies(generation: Generation, count: int) -> None:
    """Add as many queued generations like this one, quickly."""
    fields = Generation.objects.filter(pk=generation.pk).values().get()
    for name in ("id", "file_prefix", "mode"):
        fields.pop(name, None)
    Generation.objects.bulk_create([Generation(**fields) for _ in range(count)])


def test_a_single_job_starts_within_the_time_of_two_though_another_account_has_500(
    submit: Submit, dora: Person, clock: Clock
) -> None:
    copies(submit(), 499)
    running = services.claim_next()
    assert running
    hers = submit(by=dora)
    clock.forward(seconds=10)
    services.succeed(running, [False], 10, 10, "tiny", "", "")

    following = services.claim_next()

    assert following == hers
    assert Generation.objects.filter(status=Status.QUEUED).count() == 499


def test_accounts_take_turns_by_what_they_used(submit: Submit, dora: Person, clock: Clock) -> None:
    for _ in range(6):
        submit()
        submit(by=dora)

    made = [work(clock, seconds=20 if k == 0 else 10).account.email for k in range(7)]

    assert [email[:4] for email in made] == ["alic", "dora", "dora", "alic", "dora", "alic", "dora"]


def test_a_plan_of_twice_the_weight_gets_twice_as_much(submit: Submit, dora: Person, clock: Clock) -> None:
    dora.user.plan = Plan.objects.create(name="large", queue_weight=2)
    dora.user.save()
    for _ in range(12):
        submit()
        submit(by=dora)

    made = [work(clock).account_id for _ in range(12)]

    assert made.count(dora.user.pk) == 8


def test_within_an_account_the_oldest_comes_first(submit: Submit, clock: Clock) -> None:
    pks = [submit().pk for _ in range(3)]

    assert [work(clock).pk for _ in range(3)] == pks


def test_what_runs_counts_as_if_it_were_over(submit: Submit, dora: Person, clock: Clock) -> None:
    for _ in range(3):
        submit(samples=4)
        submit(by=dora)
        submit(by=dora)

    taken = [services.claim_next() for _ in range(4)]

    emails = [generation.account.email[:4] for generation in taken if generation]
    assert emails == ["alic", "dora", "dora", "dora"]


def test_what_was_used_long_ago_does_not_count_so_nobody_waits_forever(
    submit: Submit, dora: Person, clock: Clock
) -> None:
    submit()
    work(clock, seconds=3000)
    hungry = submit()
    for _ in range(70):
        submit(by=dora)
    waited = 0
    while Generation.objects.get(pk=hungry.pk).status == Status.QUEUED:
        work(clock)
        waited += 1

    assert waited * 10 <= fairness.WINDOW.total_seconds() + 20


def test_what_is_not_ready_is_not_taken(submit: Submit) -> None:
    submit(LINK, mode="img2img")

    assert services.claim_next() is None


@pytest.mark.django_db(transaction=True)
def test_racing_workers_take_each_generation_once_and_none_goes_empty(submit: Submit, dora: Person) -> None:
    for _ in range(4):
        submit()
        submit(by=dora)

    taken = race(8, lambda k: services.claim_next())

    assert sorted(generation.pk for generation in taken if isinstance(generation, Generation)) == sorted(
        Generation.objects.values_list("pk", flat=True)
    )


def test_links_are_fetched_in_turns_and_each_by_one_worker(submit: Submit, dora: Person, clock: Clock) -> None:
    mine = [submit(LINK, mode="img2img") for _ in range(5)]
    hers = submit(LINK, mode="img2img", by=dora)

    taken = []
    for _ in range(3):
        taken.append(services.claim_next_fetch())
        clock.forward(seconds=1)

    assert taken == [mine[0], hers, mine[1]]


def test_a_fetch_whose_worker_died_is_taken_again(submit: Submit, clock: Clock) -> None:
    generation = submit(LINK, mode="img2img")
    services.claim_next_fetch()
    nothing = services.claim_next_fetch()
    clock.forward(seconds=services.FETCH_LEASE.total_seconds())

    assert nothing is None
    assert services.claim_next_fetch() == generation


def test_whose_links_come_next_is_found_among_a_great_many_generations(submit: Submit, dora: Person) -> None:
    copies(submit(LINK, mode="img2img"), 1000)
    submit(LINK, mode="img2img", by=dora)

    plan = plans(fairness.to_fetch)

    assert "links_fetched_lately" in plan, plan


def test_nothing_comes_next_when_nothing_waits(submit: Submit, clock: Clock) -> None:
    services.cancel(submit().pk)

    assert (services.claim_next(), services.claim_next_fetch()) == (None, None)
    assert fairness.used_seconds(1.0) == {}


def test_sqlite_keeps_and_sums_times_as_well(on_sqlite: Callable[[str], str]) -> None:
    printed = on_sqlite("""
from datetime import timedelta
from django.conf import settings
from django.utils import timezone
from accounts.models import User
from billing import ledger
from generation import fairness, services
from generation.params import Inputs, Params
user = User.objects.create_user("alice@example.org")
for _ in range(2):
    services.submit(user, Params("text2img", "a cat", 1), Inputs())
claim = services.claim_next()
late = timezone.now() + timedelta(seconds=settings.LEASE_SECONDS)
print(claim.__class__.objects.filter(lease_until=claim.lease_until, lease_until__lte=late, started_at__lt=late).count())
claim.__class__.objects.update(started_at=timezone.now() - timedelta(seconds=5))
services.succeed(claim, [False], 5, 5, "tiny", "", "")
print(round(fairness.used_seconds(1.0)[user.pk]), services.claim_next().pk - claim.pk)
""")

    assert printed == "1\n5 1\n"
