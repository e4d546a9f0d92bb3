"""Benchmarks of the whole site find their way through it: with real processes on a tiny model, and no figures."""

import asyncio
from functools import partial
from pathlib import Path

import pytest

from benchmarks import memory, overhead, tails, workers
from benchmarks.calls import Site, calls
from benchmarks.site import making
from generation import queue
from generation.models import Generation
from tests.conftest import Person
from tests.live import serving
from tests.tiny_model import build_tiny_model


@pytest.fixture
def worker(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a worker that is soon there."""
    model = build_tiny_model(tmp_path / "model", attends_everywhere=False)
    return {"MODEL": str(model), "SAFETY_CHECKER": "none", "OMP_NUM_THREADS": "1", "DEVICE": "cpu"}


def test_a_short_job_runs_beside_the_long_ones(
    transactional_db: None, tmp_path: Path, alice: Person, worker: dict[str, str]
) -> None:
    with serving(tmp_path, SYNC_WAIT_SECONDS="120") as web, making(web, worker):
        seen = asyncio.run(tails.play(Site(web.url, alice.key), 2, 50, 1, pixels=128, seed=1))

    table = tails.table("A title", [seen, seen])

    assert min(seen.alone, seen.behind, seen.long) > 0
    assert seen.still_running <= 2
    assert [row[0] for row in table.rows] == [1, 2, "median"]
    assert table.rows[-1][3] == seen.ratio


def test_the_worker_and_plain_diffusers_are_watched_over_the_same_images(
    transactional_db: None, tmp_path: Path, alice: Person, worker: dict[str, str]
) -> None:
    bodies = [call.body() for call in calls(7, seed=1, mixed=True, sizes=(64,), steps=(5, 5))]
    with serving(tmp_path, SYNC_WAIT_SECONDS="120") as web, making(web, worker) as workers:
        make = partial(memory.run_on_site, Site(web.url, alice.key), 2)
        mine = memory.measure("gpu worker", workers[0], make, bodies)
    with memory.raw(**worker) as plain:
        its = memory.measure("diffusers", plain.process, partial(plain.make, 1), bodies)
        batches = memory.measure("diffusers in batches", plain.process, partial(plain.make, 2), bodies)

    seen = {"gpu worker": mine, "diffusers": its, "diffusers in batches": batches}
    used, last = memory.tables("A title", memory.marks(7), seen)

    assert Generation.objects.filter(status="success").count() == 7
    assert [row[0] for row in used.rows] == [1, 2, 4, 5, 7]
    assert used.rows[-1][1:] == (mine[-1].rss, its[-1].rss, batches[-1].rss)
    assert [row[0] for row in last.rows] == list(seen)
    assert [row[2:4] for row in last.rows] == [(rss / its[-1].rss, rss / batches[-1].rss) for rss in used.rows[-1][1:]]
    assert all(0 < row[5] <= row[1] for row in last.rows)
    assert not plain.process.is_running()


def test_memory_is_looked_at_after_the_warm_up_and_then_at_equal_distances() -> None:
    assert memory.marks(1000) == [20, 200, 400, 600, 800, 1000]


def test_the_overhead_is_taken_beside_others_that_keep_the_worker_busy(
    transactional_db: None, tmp_path: Path, alice: Person, worker: dict[str, str]
) -> None:
    body = {"key": alice.key, "prompt": "a cat", "width": 64, "height": 64, "num_inference_steps": 1}
    with serving(tmp_path, SYNC_WAIT_SECONDS="120") as web, making(web, worker):
        answered = asyncio.run(overhead.ask(web.url, "text2img", body, times=overhead.WARM_UP + 2, others=2))

    courses = [overhead.course_of(pk, seconds) for pk, seconds in answered]
    table = overhead.table("A title", courses)

    assert len(courses) == 2
    assert Generation.objects.filter(status="success").count() >= overhead.WARM_UP + 2 + 2
    assert len(table.rows) == 6


def test_several_workers_share_one_queue_and_are_gone_afterwards(
    transactional_db: None, tmp_path: Path, alice: Person, worker: dict[str, str]
) -> None:
    bodies = [call.body() for call in calls(4, seed=1, mixed=True, sizes=(64,), steps=(5, 5))]
    with serving(tmp_path, SYNC_WAIT_SECONDS="120") as web:
        with making(web, worker, worker) as both:
            alive = queue.gpu_workers_alive()
            rate, took = asyncio.run(workers.turn(Site(web.url, alice.key), bodies, callers=4))

    table = workers.table("A title", {1: [1.0, 4.0], 2: [2.0, 4.0]}, {1: took, 2: took})

    assert alive == 2
    assert (rate > 0, len(took)) == (True, 4)
    assert queue.gpu_workers_alive() == 0
    assert not any(each.is_running() for each in both)
    assert [row[:3] for row in table.rows] == [(1, 2.5, 1.0), (2, 3.0, 1.5)]


def test_workers_without_gpus_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "accelerators", list)
    monkeypatch.setattr(workers, "cores", lambda: 8)

    assert workers.apart(3) == [{"OMP_NUM_THREADS": "2"}] * 3


def test_workers_have_a_gpu_each_where_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "accelerators", lambda: ["one", "another"])

    assert [each["DEVICE"] for each in workers.apart(3)] == ["cuda:0", "cuda:1", "cuda:0"]


def test_calls_are_the_same_each_time_and_mixed_ones_differ() -> None:
    uniform, mixed = calls(20, seed=3, mixed=False), calls(20, seed=3, mixed=True, sizes=(64, 128))

    assert mixed == calls(20, seed=3, mixed=True, sizes=(64, 128))
    assert {(call.strength, call.num_inference_steps, call.pixels) for call in uniform} == {(0.7, 30, 256)}
    assert all(0.2 <= call.strength <= 1 and 10 <= call.num_inference_steps <= 50 for call in mixed)
    assert {call.pixels for call in mixed} == {64, 128}
    assert mixed[0].body()["init_image"].startswith("iVBOR")  # a PNG
