"""accounts.quotas: limits by the minute and by the month."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from accounts import quotas
from accounts.models import Plan, Usage, User
from tests.conftest import Person
from tests.racing import race


@pytest.fixture(autouse=True)
def _not_across_a_minute() -> None:
    """Let no test begin in one minute and end in the next."""
    left = 60 - datetime.now(UTC).second
    if left < 5:
        time.sleep(left)


def on_plan(person: Person, **limits: int | None) -> User:
    person.user.plan = Plan.objects.create(name="small", **limits)
    person.user.save()
    return person.user


def used(user: User) -> dict[str, int]:
    return dict(Usage.objects.filter(user=user).values_list("period", "count"))


def this_month() -> str:
    return datetime.now(UTC).strftime("%Y-%m")


def test_an_account_without_a_plan_has_no_limits_and_is_not_counted(alice: Person) -> None:
    for _ in range(3):
        quotas.admit(alice.user, 4)

    assert not Usage.objects.exists()
    assert quotas.largest_side_pixels(alice.user) == 1024


def test_a_plan_limits_the_longest_side(alice: Person) -> None:
    assert quotas.largest_side_pixels(on_plan(alice, largest_side_pixels=512)) == 512


def test_an_empty_limit_is_no_limit(alice: Person) -> None:
    user = on_plan(alice)

    for _ in range(3):
        quotas.admit(user, 4)

    assert used(user) == {}


def test_the_request_over_the_minutes_limit_is_told_when_to_come_back(alice: Person) -> None:
    user = on_plan(alice, requests_per_minute=2)
    quotas.admit(user, 4)
    quotas.admit(user, 4)

    with pytest.raises(quotas.RateLimited) as refusal:
        quotas.admit(user, 1)

    assert 1 <= refusal.value.retry_after_seconds <= 60
    assert list(used(user).values()) == [2]


def test_the_month_counts_images_and_admits_exactly_the_last_one(alice: Person) -> None:
    user = on_plan(alice, images_per_month=5)
    quotas.admit(user, 4)

    with pytest.raises(quotas.QuotaExceeded):
        quotas.admit(user, 2)
    quotas.admit(user, 1)

    assert used(user) == {this_month(): 5}


def test_more_images_than_the_whole_months_limit_are_refused(alice: Person) -> None:
    user = on_plan(alice, images_per_month=3)

    with pytest.raises(quotas.QuotaExceeded):
        quotas.admit(user, 4)


def test_last_months_images_do_not_count(alice: Person) -> None:
    user = on_plan(alice, images_per_month=5)
    last_month = (datetime.now(UTC).replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    Usage.objects.create(user=user, period=last_month, count=5)

    quotas.admit(user, 5)

    assert used(user) == {last_month: 5, this_month(): 5}


def test_one_accounts_use_does_not_limit_another(alice: Person, bob: Person) -> None:
    user = on_plan(alice, images_per_month=1, requests_per_minute=1)
    bob.user.plan = user.plan
    bob.user.save()
    quotas.admit(user, 1)

    quotas.admit(bob.user, 1)

    assert used(bob.user)[this_month()] == 1


def test_what_was_not_delivered_is_given_back_but_never_below_zero(alice: Person) -> None:
    user = on_plan(alice, images_per_month=5)
    quotas.admit(user, 4)

    quotas.give_back(user.pk, 3, datetime.now(UTC))
    quotas.give_back(user.pk, 3, datetime.now(UTC))

    assert used(user) == {this_month(): 1}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("limits", "refusal"),
    [({"requests_per_minute": 7}, quotas.RateLimited), ({"images_per_month": 7}, quotas.QuotaExceeded)],
)
def test_32_racing_requests_never_pass_a_limit(alice: Person, limits: dict[str, int], refusal: type[Exception]) -> None:
    user = on_plan(alice, **limits)

    outcomes = race(32, lambda k: transaction.atomic(quotas.admit)(user, 1))

    assert outcomes.count(None) == 7
    assert sum(isinstance(outcome, refusal) for outcome in outcomes) == 25
    assert list(used(user).values()) == [7]
