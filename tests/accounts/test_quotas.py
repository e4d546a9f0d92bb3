"""accounts.quotas: what an account may do, and how much of it is used."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from accounts import jobs, quotas
from accounts.models import ApiKey, KeySpending, Plan, QuotaOverride, Usage, User
from accounts.quotas import Allowance, Limits
from tests.conftest import Person
from tests.racing import race

NOON = datetime(2026, 11, 23, 12, 0, 18, tzinfo=UTC)
TODAY = date(2026, 11, 23)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Return a function that sets the clock."""
    return lambda instant: monkeypatch.setattr(timezone, "now", lambda: instant)


@pytest.fixture(autouse=True)
def _noon(at: Callable[[datetime], None]) -> None:
    at(NOON)


def on_plan(person: Person, **limits: int | None) -> User:
    person.user.plan = Plan.objects.create(name="small", **limits)
    person.user.save()
    return person.user


def admit(user: User, images: int = 1, live: int = 1) -> date:
    on = quotas.today(user)
    transaction.atomic(quotas.admit)(user, None, images, images, lambda: live, quotas.limits(user), on)
    return on


def spend(user: User, key: ApiKey | None, credits: int) -> date:
    """Admit one request through a key."""
    on = quotas.today(user)
    transaction.atomic(quotas.admit)(user, key, 1, credits, one_live, quotas.limits(user), on)
    return on


def one_live() -> int:
    return 1


def used(user: User) -> dict[str, int]:
    return dict(Usage.objects.filter(user=user).values_list("period", "count"))


def override(user: User, days: int = 1, **limits: int) -> QuotaOverride:
    return QuotaOverride.objects.create(user=user, reason="a test", ends_at=NOON + timedelta(days=days), **limits)


# What the limits are


def test_an_account_without_a_plan_has_the_services_limits(alice: Person) -> None:
    assert quotas.limits(alice.user) == Limits(1024, 51, 4, None, None, None, None)


def test_an_empty_limit_of_a_plan_is_the_services(alice: Person) -> None:
    user = on_plan(alice, most_steps=21, images_per_day=0)

    assert quotas.limits(user) == Limits(most_steps=21, images_per_day=0)


def test_an_override_beats_the_plan_until_it_ends_and_leaves_the_rest_to_it(alice: Person, at: Any) -> None:
    user = on_plan(alice, images_per_day=5, most_samples=2)
    override(user, days=3, images_per_day=50)

    during = quotas.limits(user)
    at(NOON + timedelta(days=3))
    after = quotas.limits(user)

    assert (during.images_per_day, during.most_samples) == (50, 2)
    assert (after.images_per_day, after.most_samples) == (5, 2)


def test_of_several_overrides_the_newest_that_says_something_counts(alice: Person, bob: Person) -> None:
    override(alice.user, images_per_day=1, images_per_month=10)
    override(alice.user, images_per_day=2)
    override(bob.user, images_per_day=99)

    assert quotas.limits(alice.user) == Limits(images_per_day=2, images_per_month=10)


# Admission


def test_what_is_not_limited_is_counted_as_well(alice: Person) -> None:
    for _ in range(3):
        admit(alice.user, 4)

    assert used(alice.user) == {"2026-11-23T12:00": 3, "2026-11-23": 12, "2026-11": 12}


def test_the_request_over_the_minutes_limit_is_told_when_to_come_back(alice: Person, at: Any) -> None:
    user = on_plan(alice, requests_per_minute=2)
    admit(user)
    admit(user)

    with pytest.raises(quotas.RateLimited, match=r"Try again in 42 seconds\.") as refusal:
        admit(user)
    at(NOON + timedelta(seconds=42))
    admit(user)

    assert refusal.value.retry_after_seconds == 42
    assert used(user)["2026-11-23T12:00"] == 2


@pytest.mark.parametrize(("limits", "period"), [({"images_per_day": 5}, "daily"), ({"images_per_month": 5}, "monthly")])
def test_images_are_admitted_to_exactly_the_last_one(alice: Person, limits: dict[str, int], period: str) -> None:
    user = on_plan(alice, **limits)
    admit(user, 4)

    with pytest.raises(quotas.QuotaExceeded) as refusal:
        admit(user, 2)
    admit(user, 1)

    assert refusal.value.period == period
    assert used(user) == {"2026-11-23T12:00": 2, "2026-11-23": 5, "2026-11": 5}  # the refusal took nothing


def test_more_images_than_the_whole_limit_are_refused(alice: Person) -> None:
    with pytest.raises(quotas.QuotaExceeded):
        admit(on_plan(alice, images_per_month=3), 4)


def test_one_generation_too_many_at_once_is_refused_and_counts_nowhere(alice: Person) -> None:
    user = on_plan(alice, generations_at_once=3)
    admit(user, live=3)

    with pytest.raises(quotas.RateLimited, match="Generations at once: 3 is your limit"):
        admit(user, live=4)

    assert used(user) == {"2026-11-23T12:00": 1, "2026-11-23": 1, "2026-11": 1}


@pytest.mark.parametrize(
    ("time_zone", "instant", "counted_on"),
    [
        ("UTC", datetime(2026, 11, 30, 23, 59, tzinfo=UTC), date(2026, 11, 30)),
        ("Asia/Tokyo", datetime(2026, 11, 30, 15, 0, tzinfo=UTC), date(2026, 12, 1)),
        ("America/Los_Angeles", datetime(2026, 12, 1, 7, 59, tzinfo=UTC), date(2026, 11, 30)),
        ("Pacific/Kiritimati", datetime(2026, 12, 31, 10, 0, tzinfo=UTC), date(2027, 1, 1)),
    ],
)
def test_days_and_months_are_those_of_the_accounts_time_zone(
    alice: Person, at: Any, time_zone: str, instant: datetime, counted_on: date
) -> None:
    alice.user.time_zone = time_zone
    at(instant)

    assert admit(alice.user) == counted_on
    assert {f"{counted_on}", f"{counted_on:%Y-%m}"} < set(used(alice.user))


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "utc "])
def test_only_real_time_zones_can_be_saved_by_a_form(alice: Person, name: str) -> None:
    alice.user.time_zone = name

    with pytest.raises(ValidationError):
        alice.user.full_clean()


def test_the_next_day_and_the_next_month_begin_anew(alice: Person, at: Any) -> None:
    user = on_plan(alice, images_per_day=4, images_per_month=6)
    admit(user, 4)
    at(NOON + timedelta(days=1))
    admit(user, 2)
    with pytest.raises(quotas.QuotaExceeded, match="monthly"):
        admit(user, 1)
    at(NOON + timedelta(days=8))

    admit(user, 4)

    assert used(user)["2026-12"] == 4


def test_one_accounts_use_does_not_limit_another(alice: Person, bob: Person) -> None:
    user = on_plan(alice, images_per_month=1, requests_per_minute=1)
    bob.user.plan = user.plan
    admit(user)

    admit(bob.user)

    assert used(bob.user)["2026-11"] == 1


# Spending through a key


def test_a_key_spends_up_to_its_cap_whatever_the_account_may(alice: Person, at: Any) -> None:
    key = alice.api_key
    key.spending_cap_credits = 10
    spend(alice.user, key, 8)

    with pytest.raises(quotas.SpendingCapReached, match="2 of 10 credits are left to this API key this month"):
        spend(alice.user, key, 3)
    spend(alice.user, key, 2)
    spend(alice.user, None, 100)

    assert quotas.spending(key) == Allowance("spending_cap_credits", 10, 10, datetime(2026, 12, 1, tzinfo=UTC))
    at(NOON + timedelta(days=8))
    spend(alice.user, key, 10)
    assert dict(KeySpending.objects.values_list("period", "count")) == {"2026-11": 10, "2026-12": 10}


# Giving back


def test_what_was_not_made_is_given_back_to_its_own_day_and_month(alice: Person, at: Any) -> None:
    counted_on = admit(alice.user, 4)
    at(NOON + timedelta(days=8))
    admit(alice.user, 2)

    quotas.give_back(alice.user.pk, None, 3, 3, counted_on)

    assert used(alice.user) == {
        "2026-11-23T12:00": 1,
        "2026-11-23": 1,
        "2026-11": 1,
        "2026-12-01T12:00": 1,
        "2026-12-01": 2,
        "2026-12": 2,
    }


def test_a_key_gets_back_what_was_not_charged(alice: Person) -> None:
    counted_on = spend(alice.user, alice.api_key, 8)

    quotas.give_back(alice.user.pk, alice.api_key.pk, 0, 6, counted_on)

    assert KeySpending.objects.get().count == 2
    assert used(alice.user)["2026-11"] == 1


def test_moving_to_another_time_zone_gives_back_where_it_was_counted(alice: Person) -> None:
    counted_on = admit(alice.user, 4)
    alice.user.time_zone = "Pacific/Kiritimati"
    alice.user.save()

    quotas.give_back(alice.user.pk, None, 4, 4, counted_on)

    assert used(alice.user) == {"2026-11-23T12:00": 1, "2026-11-23": 0, "2026-11": 0}


# The present state


def test_every_limit_is_shown_with_its_use_and_its_end(alice: Person) -> None:
    user = on_plan(alice, requests_per_minute=5, images_per_month=10, generations_at_once=3)
    user.time_zone = "Europe/Berlin"
    admit(user, 4)

    assert quotas.allowances(user, live=2) == [
        Allowance("requests_per_minute", 5, 1, datetime(2026, 11, 23, 12, 1, tzinfo=UTC)),
        Allowance("images_per_day", None, 4, datetime(2026, 11, 23, 23, 0, tzinfo=UTC)),
        Allowance("images_per_month", 10, 4, datetime(2026, 11, 30, 23, 0, tzinfo=UTC)),
        Allowance("generations_at_once", 3, 2, None),
    ]
    assert [one.remaining for one in quotas.allowances(user, live=4)] == [4, None, 6, 0]


def test_counters_of_minutes_are_forgotten_after_an_hour_and_the_others_kept(alice: Person, at: Any) -> None:
    admit(alice.user)
    at(NOON + timedelta(minutes=61))
    admit(alice.user)

    jobs.forget_counters()

    assert used(alice.user) == {"2026-11-23T13:01": 1, "2026-11-23": 2, "2026-11": 2}


@pytest.mark.parametrize(
    ("instant", "kept"),
    [
        (datetime(2026, 11, 30, 12, tzinfo=UTC), {"2026-11-30": 1, "2026-11": 3}),
        (datetime(2026, 12, 1, 11, 59, tzinfo=UTC), {"2026-11-30": 1, "2026-11": 3}),  # November somewhere
        (datetime(2026, 12, 3, 0, tzinfo=UTC), {}),
    ],
)
def test_counters_of_days_and_months_are_forgotten_when_they_are_over_everywhere(
    alice: Person, at: Any, instant: datetime, kept: dict[str, int]
) -> None:
    for day in (datetime(2026, 11, 9, 12, tzinfo=UTC), NOON, datetime(2026, 11, 30, 12, tzinfo=UTC)):
        at(day)
        spend(alice.user, alice.api_key, 1)
    at(instant)

    jobs.forget_counters()

    assert {period: count for period, count in used(alice.user).items() if "T" not in period} == kept
    assert dict(KeySpending.objects.values_list("period", "count")) == {p: n for p, n in kept.items() if len(p) == 7}


# Races


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("limits", "refusal"),
    [
        ({"requests_per_minute": 7}, quotas.RateLimited),
        ({"images_per_day": 7}, quotas.QuotaExceeded),
        ({"images_per_month": 7}, quotas.QuotaExceeded),
    ],
)
def test_32_racing_requests_never_pass_a_limit(alice: Person, limits: dict[str, int], refusal: type[Exception]) -> None:
    user = on_plan(alice, **limits)

    outcomes = race(32, lambda k: admit(user))

    assert outcomes.count(TODAY) == 7
    assert sum(isinstance(outcome, refusal) for outcome in outcomes) == 25
    assert set(used(user).values()) == {7}


@pytest.mark.django_db(transaction=True)
def test_32_racing_requests_never_pass_a_keys_cap(alice: Person) -> None:
    alice.api_key.spending_cap_credits = 15

    outcomes = race(32, lambda k: spend(alice.user, alice.api_key, 2))

    assert outcomes.count(TODAY) == 7
    assert KeySpending.objects.get().count == 14
