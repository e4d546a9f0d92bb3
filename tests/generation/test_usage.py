"""Usage: its sums by day, key and model, live and summed up, its percentiles, its page and its CSV."""

import csv
import io
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import ApiKey, Plan
from generation import usage
from generation.models import Generation, SiteDay, Status, SummedDay, UsageDay
from generation.usage import Part, Use
from tests.conftest import Person
from tests.generation.conftest import small
from tests.sessions import logged_in

End = Callable[..., Generation]
TODAY = timezone.now().astimezone(UTC).date()
YESTERDAY, EARLIER = TODAY - timedelta(days=1), TODAY - timedelta(days=2)


@pytest.fixture
def end(alice: Person) -> End:
    """Return a function that writes a generation as it is when it has ended."""

    def write(
        day: date = YESTERDAY,
        seconds: float = 2,
        by: Person = alice,
        at: time = time(12),
        status: str = Status.SUCCESS,
        api_key: ApiKey | None = alice.api_key,
        samples: int = 1,
        **fields: Any,
    ) -> Generation:
        finished_at = datetime.combine(day, at, UTC)
        return Generation.objects.create(
            account=by.user,
            api_key=api_key,
            status=status,
            params=small(samples=samples).as_json(),
            inputs_ready=True,
            held_credits=10,
            model="one" if status == Status.SUCCESS else "",
            created_at=finished_at - timedelta(seconds=seconds),
            finished_at=finished_at,
            **fields,
        )

    return write


@pytest.fixture
def some(end: End, alice: Person, bob: Person) -> dict[Part, Use]:
    """What alice used in two days by two ways of making; bob used something too."""
    end(EARLIER, samples=2, charged_credits=2)
    end(EARLIER, seconds=4, samples=4, charged_credits=3, blanked_images=1, nsfw=[True, False, False, False])
    end(EARLIER, status=Status.FAILED)
    end(EARLIER, at=time(0, 0, 0), status=Status.CANCELED)
    end(YESTERDAY, at=time(0, 0, 0), charged_credits=1, api_key=None)
    end(YESTERDAY, at=time(23, 59, 59, 999999), charged_credits=1, api_key=None)
    end(YESTERDAY, by=bob, charged_credits=5)
    key = alice.api_key.pk
    return {
        Part(EARLIER, key, "one"): Use(2, 0, 0, 5, 5, Counter({usage.bucket(2): 1, usage.bucket(4): 1}), 1),
        Part(EARLIER, key, ""): Use(0, 1, 1, 0, 0, Counter()),
        Part(YESTERDAY, None, "one"): Use(2, 0, 0, 2, 2, Counter({usage.bucket(2): 2})),
    }


def test_it_sums_by_day_key_and_model(alice: Person, some: dict[Part, Use]) -> None:
    assert usage.used(alice.user, EARLIER, TODAY) == some
    assert usage.used(alice.user, YESTERDAY, YESTERDAY) == {
        part: use for part, use in some.items() if part.day == YESTERDAY
    }


def test_what_is_summed_up_equals_what_is_summed_live(
    alice: Person, some: dict[Part, Use], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "SETTLE_SECONDS", 0)
    assert usage.sum_up() == 2

    assert UsageDay.objects.filter(account=alice.user).count() == 3
    assert usage.used(alice.user, EARLIER, TODAY) == some


def test_models_are_summed_over_all_accounts_and_once_each(end: End, some: dict[Part, Use]) -> None:
    usage.sum_up_day(EARLIER)
    end(TODAY, seconds=8)

    found = usage.by_model(EARLIER, TODAY)

    assert {name: (use.succeeded, use.failed, use.canceled) for name, use in found.items()} == {
        "one": (6, 0, 0),
        "": (0, 1, 1),
    }
    assert set(usage.by_model(TODAY, TODAY)) == {"one"}


@pytest.mark.parametrize("is_before", [True, False])
def test_a_day_that_is_summed_up_while_a_page_is_made_counts_once(
    alice: Person, some: dict[Part, Use], monkeypatch: pytest.MonkeyPatch, is_before: bool
) -> None:
    monkeypatch.setattr(usage, "SETTLE_SECONDS", 0)
    last_summed_day = usage.last_summed_day
    usage.sum_up_day(EARLIER)

    def look_beside_the_clock() -> date | None:
        monkeypatch.setattr(usage, "last_summed_day", last_summed_day)
        day = None if is_before else last_summed_day()
        usage.sum_up()
        return last_summed_day() if is_before else day

    for count in (lambda: usage.used(alice.user, EARLIER, TODAY) == some, lambda: usage.totals().images == 8):
        SummedDay.objects.filter(day=YESTERDAY).delete()
        UsageDay.objects.filter(day=YESTERDAY).delete()
        SiteDay.objects.filter(day=YESTERDAY).delete()
        monkeypatch.setattr(usage, "last_summed_day", look_beside_the_clock)
        assert count()
        assert SummedDay.objects.count() == 2


def test_summing_up_twice_changes_nothing(some: dict[Part, Use], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "SETTLE_SECONDS", 0)
    usage.sum_up()
    before = sums()

    assert usage.sum_up() == 0
    for day in (EARLIER, YESTERDAY):
        usage.sum_up_day(day)

    assert sums() == before


def sums() -> list[list[dict[str, Any]]]:
    return [list(model.objects.order_by("day", "model", "pk").values()) for model in (UsageDay, SiteDay)]


def test_the_whole_site_s_sums_are_those_of_all_accounts(
    end: End, some: dict[Part, Use], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "SETTLE_SECONDS", 0)
    end(TODAY, samples=2, blanked_images=2)
    two, four = usage.bucket(2), usage.bucket(4)
    reports = {
        "totals": Use(6, 1, 1, 8, 12, Counter(), 3),
        "by day": {
            EARLIER: Use(2, 1, 1, 5, 5, Counter({two: 1, four: 1}), 1),
            YESTERDAY: Use(3, 0, 0, 3, 7, Counter({two: 3})),
            TODAY: Use(1, 0, 0, 0, 0, Counter({two: 1}), 2),
        },
        "by model": {"one": Use(6, 0, 0, 8, 12, Counter({two: 5, four: 1}), 3), "": Use(failed=1, canceled=1)},
    }

    def told() -> dict[str, Any]:
        return {
            "totals": usage.totals(),
            "by day": usage.by_day(EARLIER, TODAY),
            "by model": usage.by_model(EARLIER, TODAY),
        }

    assert told() == reports
    usage.sum_up()
    assert told() == reports
    UsageDay.objects.all().delete()
    Generation.objects.filter(finished_at__lt=datetime.combine(TODAY, time.min, UTC)).delete()
    assert told() == reports  # from one row a day and model


def test_an_upgrade_makes_the_sums_of_days_that_were_summed_up_before(
    some: dict[Part, Use], end: End, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "SETTLE_SECONDS", 0)
    usage.sum_up()
    end(TODAY, samples=2, blanked_images=2)
    wanted = without_pk(sums())
    UsageDay.objects.update(blanked_images=0)
    SiteDay.objects.all().delete()

    migration = import_module("generation.migrations.0016_sums_of_the_site")
    migration.count_blanked_images(apps, None)
    migration.add_up(apps, None)

    assert without_pk(sums()) == wanted


def without_pk(found: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    return [[{name: value for name, value in row.items() if name != "id"} for row in rows] for rows in found]


def test_what_was_summed_up_outlives_the_generations(
    alice: Person, some: dict[Part, Use], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "SETTLE_SECONDS", 0)
    usage.sum_up()
    Generation.objects.all().delete()

    assert usage.used(alice.user, EARLIER, TODAY) == some


def test_today_is_summed_live_and_a_day_only_once_it_has_settled(
    alice: Person, end: End, monkeypatch: pytest.MonkeyPatch
) -> None:
    end(YESTERDAY)
    monkeypatch.setattr(usage, "SETTLE_SECONDS", 2 * 86400)

    assert (usage.sum_up(), SummedDay.objects.count()) == (0, 0)

    monkeypatch.setattr(usage, "SETTLE_SECONDS", 0)
    usage.sum_up()
    end(TODAY, at=time(0))
    assert [(part.day, use.succeeded) for part, use in usage.used(alice.user, EARLIER, TODAY).items()] == [
        (YESTERDAY, 1),
        (TODAY, 1),
    ]


def test_days_on_which_nothing_ended_are_summed_up_too(end: End) -> None:
    end(TODAY - timedelta(days=40))

    assert [usage.sum_up() > 0, usage.sum_up() > 0, usage.sum_up()] == [True, True, 0]
    assert SummedDay.objects.count() in (39, 40)  # yesterday settles an hour after midnight
    assert UsageDay.objects.count() == 1


def test_percentiles_are_right_to_five_in_a_hundred(alice: Person, end: End) -> None:
    for k in range(1, 101):
        end(seconds=k / 10)

    [use] = usage.used(alice.user, YESTERDAY, YESTERDAY).values()

    assert use.p50_seconds == pytest.approx(5, rel=0.05)
    assert use.p95_seconds == pytest.approx(9.5, rel=0.05)
    assert (Use().p50_seconds, Use().p95_seconds) == (None, None)


def test_the_database_finds_the_same_buckets(alice: Person, end: End) -> None:
    seconds = [0.011, 0.3, 1.234, 17.5, 600, 86400]
    for each in (-5, 0, *seconds):  # clocks that disagree make no error
        end(seconds=each)

    [use] = usage.used(alice.user, YESTERDAY, YESTERDAY).values()

    assert use.latencies == Counter([0, 0, *map(usage.bucket, seconds)])


def test_a_year_costs_no_more_queries_than_a_week(alice: Person, some: dict[Part, Use]) -> None:
    site = logged_in(alice.user)
    site.get("/usage/")
    counts = []
    for days in (7, 365):
        with CaptureQueriesContext(connection) as queries:
            assert site.get(f"/usage/?days={days}").status_code == 200
        counts.append(len(queries))

    assert counts[0] == counts[1]


def lines(site: Client, query: str = "") -> list[dict[str, str]]:
    reply = site.get(f"/usage.csv{query}")
    assert (reply.status_code, reply["Content-Type"]) == (200, "text/csv; charset=utf-8")
    return list(csv.DictReader(io.StringIO(reply.content.decode())))


def test_the_csv_has_a_line_for_each_day_key_and_model(alice: Person, some: dict[Part, Use]) -> None:
    site = logged_in(alice.user)

    first, second, third = lines(site)

    assert first == {
        "day": str(EARLIER),
        "api_key": str(alice.api_key),
        "model": "",
        "succeeded": "0",
        "failed": "1",
        "canceled": "1",
        "images": "0",
        "credits": "0",
        "p50_seconds": "",
        "p95_seconds": "",
    }
    assert (second["model"], second["images"], second["credits"]) == ("one", "5", "5")
    assert float(second["p50_seconds"]) == pytest.approx(2, rel=0.05)
    assert float(second["p95_seconds"]) == pytest.approx(4, rel=0.05)
    assert (third["day"], third["api_key"], third["images"]) == (str(YESTERDAY), "this site's pages", "2")


def test_the_csv_is_narrowed_as_the_page_is(alice: Person, bob: Person, some: dict[Part, Use]) -> None:
    site = logged_in(alice.user)

    assert [line["credits"] for line in lines(site, "?api_key=pages")] == ["2"]
    assert [line["credits"] for line in lines(site, f"?api_key={alice.api_key.pk}")] == ["0", "5"]
    assert [line["credits"] for line in lines(site, "?model=one")] == ["5", "2"]
    for nonsense in ("days=8", "model=none", f"api_key={bob.api_key.pk}", "api_key=x"):
        assert len(lines(site, f"?{nonsense}")) == 3
    assert lines(logged_in(bob.user))[0]["credits"] == "5"


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", '=HYPERLINK("http://x")'])
def test_no_spreadsheet_takes_a_name_for_a_formula(alice: Person, end: End, name: str) -> None:
    ApiKey.objects.filter(pk=alice.api_key.pk).update(name=name)
    generation = end()
    Generation.objects.filter(pk=generation.pk).update(model=name)

    [line] = lines(logged_in(alice.user))

    assert (line["model"], line["api_key"][: len(name) + 1]) == (f"'{name}", f"'{name}")


def test_the_page_shows_sums_and_how_much_of_each_limit_is_used(alice: Person, some: dict[Part, Use]) -> None:
    alice.user.plan = Plan.objects.create(name="Small", images_per_day=7)
    alice.user.save()

    reply = logged_in(alice.user).get("/usage/?days=7")

    whole = reply.context["whole"]
    assert (whole.succeeded, whole.failed, whole.canceled, whole.images, whole.credits) == (4, 1, 1, 7, 7)
    assert [(name, use.credits) for name, use in reply.context["by_key"]] == [
        (str(alice.api_key), 5),
        ("this site's pages", 2),
    ]
    assert [(name, use.credits) for name, use in reply.context["by_model"]] == [("one", 7), ("none", 0)]
    [today] = [row["allowance"] for row in reply.context["allowances"] if row["label"] == "Images today"]
    assert (today.used, today.limit) == (0, 7)
    assert "style=" not in reply.content.decode()


def test_a_key_that_is_gone_keeps_its_sums(
    alice: Person, some: dict[Part, Use], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "SETTLE_SECONDS", 0)
    usage.sum_up()
    alice.api_key.delete()

    reply = logged_in(alice.user).get("/usage/?days=7")

    assert reply.context["whole"].credits == 7


def test_an_account_that_made_nothing_sees_an_empty_page(bob: Person) -> None:
    site = logged_in(bob.user)

    assert site.get("/usage/").status_code == 200
    assert lines(site) == []
