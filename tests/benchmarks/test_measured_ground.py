"""What benchmarks write and ask still fits the site: with few rows, and no figures."""

import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import many, overhead, rates, rows, waiting
from benchmarks.site import EMPTY_ADDRESS, EMPTY_READING_ADDRESS
from billing import ledger
from billing.models import Entry
from generation import queue
from generation.models import Generation, Status
from tests.conftest import Api, Person
from tests.generation.conftest import Submit
from tests.live import serving


def test_one_success_can_be_fetched_and_outlives_the_others(api: Api, alice: Person, submit: Submit) -> None:
    pk = rates.one_success(alice.user)
    submit()

    rates.clear(pk)

    assert api.post(f"fetch/{pk}", {"key": alice.key}).json()["status"] == "success"
    assert list(Generation.objects.values_list("pk", flat=True)) == [pk]
    assert queue.waiting_job_ids() == set()


def test_every_generation_that_somebody_waits_for_is_ended(submit: Submit) -> None:
    made = [submit(), submit()]

    ended = waiting.end_all()

    answers = [({"status": "success", "id": each.pk}, each.created_at.timestamp() + 60) for each in made]
    assert ended == 2
    assert {row.status for row in Generation.objects.all()} == {Status.SUCCESS}
    assert len(waiting.delays([*answers, ConnectionError()])) == 2


def test_the_course_of_a_request_adds_up(submit: Submit, work: Any) -> None:
    made = submit()
    work()

    course = overhead.course_of(made.pk, 100.0)

    assert course.whole == 100_000
    assert min(course.queued, course.computed, course.finished, course.http) > 0
    parts = course.queued + course.computed + course.finished + course.http
    assert parts == pytest.approx(course.whole)


def test_the_history_is_asked_at_several_sizes(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "FETCHES", 2)
    of_size = {}
    for size in (30, 60):
        many.empty()
        account, key = many.fill(size)
        assert Entry.objects.filter(wallet_id=account.pk, kind="hold").count() == size
        assert list(ledger.differences()) == []
        of_size[size] = rows.measured(account, key, times=1)

    table = rows.table(of_size)

    shown = {row[0]: (row[1], row[3]) for row in table.rows}
    assert {"credits", "credits: history", "credits: history of a month"} < set(shown)
    assert shown["history: first page"] == (30, 48)
    assert (shown["history: no such word"], shown["API: fetch"]) == ((0, 0), (1, 1))
    assert table.columns[-1] == "60 / 30"
    assert all(row[-1] > 0 for row in table.rows)


def test_the_empty_views_know_their_caller_and_do_nothing(
    transactional_db: None, tmp_path: Path, alice: Person
) -> None:
    with serving(tmp_path, f"{sys.executable} -m benchmarks.empty_site") as web:
        for address in (EMPTY_ADDRESS, EMPTY_READING_ADDRESS):
            known = web.request("POST", f"/{address}", "{}", key=alice.key)
            unknown = web.request("POST", f"/{address}", "{}", key="sk_nobody")

            assert known == (200, b"{}")
            assert unknown[0] == 403
        assert web.request("GET", "/healthz") == (200, b"ok")
