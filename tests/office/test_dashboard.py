"""The admin's first page: the day's numbers."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from billing.models import Pack, Purchase
from generation import services, usage
from generation.models import Generation
from generation.params import Inputs, Params
from office import dashboard
from tests.conftest import Person


def make(person: Person, ends: str = "success", samples: int = 1, model: str = "model") -> Generation:
    params = Params(mode="text2img", prompt="a cat", seed=1, samples=samples)
    generation = services.claim(services.submit(person.user, params, Inputs()).pk)
    assert generation
    if ends == "success":
        services.succeed(generation, [False] * samples, 1.0, 1.0, model, "", "")
    else:
        services.fail(generation, "Broken", model)
    return generation


@pytest.mark.tampered_ledger  # the purchase below is only its row
def test_it_counts_the_day(staff: Client, alice: Person, bob: Person) -> None:
    make(alice, samples=3)
    make(alice)
    make(alice, ends="failure")
    services.submit(alice.user, Params(mode="text2img", prompt="a cat", seed=1), Inputs())
    pack = Pack.objects.create(name="Small", credits=100, price_cents=500, currency="usd")
    about = {"user": bob.user, "pack": pack, "kind": "checkout", "status": "paid", "currency": "usd"}
    Purchase.objects.create(**about, credits=100, price_cents=500, paid_cents=500, paid_at=timezone.now())

    today = dashboard.recent_days(timezone.now().date())[-1]
    now = dashboard.now()

    assert (today.images, today.succeeded, today.failed, today.sold_credits, today.income) == (4, 2, 1, 100, "$5.00")
    assert today.failed_percent == pytest.approx(33.3, abs=0.1)
    assert (now.queued, now.processing, now.gpu_workers) == (1, 0, 0)
    assert now.p95_seconds is not None


def test_days_that_are_summed_up_are_told_as_they_were(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "SETTLE_SECONDS", 0)
    today = timezone.now().date()
    for days, ends in ((0, "success"), (1, "success"), (1, "failure"), (13, "success")):
        generation = make(alice, ends, samples=3)
        at = timezone.now() - timedelta(days=days)
        Generation.objects.filter(pk=generation.pk).update(created_at=at, finished_at=at)
    Generation.objects.filter(status="success").update(blanked_images=1, nsfw=[True, False, False])
    before = dashboard.recent_days(today)

    assert usage.sum_up() == 13

    assert dashboard.recent_days(today) == before
    assert [(day.day, day.images, day.succeeded, day.failed) for day in before if day.images or day.failed] == [
        (today - timedelta(days=13), 3, 1, 0),
        (today - timedelta(days=1), 3, 1, 1),
        (today, 3, 1, 0),
    ]


def test_only_the_day_that_is_not_over_is_read_from_the_generations(
    staff: Client, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "SETTLE_SECONDS", 0)
    today = timezone.now().date()
    generation = make(alice)
    Generation.objects.filter(pk=generation.pk).update(finished_at=timezone.now() - timedelta(days=1))
    usage.sum_up()

    with CaptureQueriesContext(connection) as asked:
        for page in ("/admin/", "/admin/models/", "/metrics"):
            assert staff.get(page).status_code == 200

    read = [query["sql"] for query in asked.captured_queries if 'SUM("generation_generation"."charged_' in query["sql"]]
    assert len(read) == 3, read
    assert all(f"\"finished_at\" >= '{today} 00:00:00+00:00'" in sql for sql in read), read
    assert not any('"generation_usageday"' in query["sql"] for query in asked.captured_queries)


def test_it_shows_them_with_charts_drawn_by_the_server(staff: Client, alice: Person) -> None:
    make(alice)

    page = staff.get("/admin/").content.decode()

    assert "<dt>Images today</dt><dd>1</dd>" in page
    assert "none answers: nothing is made" in page
    assert page.count('<svg class="office-bars"') == 4
    assert f"<title>{timezone.now():%-d %b}: 1</title>" in page
    assert not re.search(r"(src|href)=\"(https?:)?//", page)


def test_an_empty_site_has_a_first_page_too(staff: Client) -> None:
    reply = staff.get("/admin/")

    assert reply.status_code == 200
    assert "nothing has ended yet" in reply.content.decode()


MADE = ["Images today", "Failures today", "In the queue", "GPU workers", "95 % were ready within"]


@pytest.mark.parametrize(
    ("rights", "tiles", "charts"),
    [
        ([], [], []),
        (["generation.view_generation"], MADE, ["Images", "Failures"]),
        (["billing.view_purchase"], ["Credits sold today"], ["Credits sold"]),
        (["accounts.view_user"], [], ["New accounts"]),
    ],
)
def test_each_number_needs_the_right_to_see_what_it_is_counted_from(
    clerk: Callable[..., Client], alice: Person, rights: list[str], tiles: list[str], charts: list[str]
) -> None:
    make(alice)

    page = clerk(*rights).get("/admin/").content.decode()

    assert re.findall(r"<dt>(.*?)</dt>", page) == tiles
    assert re.findall(r'aria-label="(.*?), day by day"', page) == charts


@pytest.mark.parametrize(("seconds", "p95"), [([], None), ([3], 3), ([*range(1, 21)], 19), ([5] * 99 + [500], 5)])
def test_the_slowest_twentieth_is_left_out(alice: Person, seconds: list[int], p95: float | None) -> None:
    now = timezone.now()
    for took in seconds:
        generation = make(alice)
        Generation.objects.filter(pk=generation.pk).update(created_at=now - timedelta(seconds=took), finished_at=now)

    assert dashboard.p95_seconds(now - timedelta(hours=1)) == p95
