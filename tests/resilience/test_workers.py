"""Workers that stop, sleep or lose their queue."""

import os
import signal
from pathlib import Path
from typing import Any

from redis import Redis
from rq.command import send_stop_job_command
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker import BaseWorker

from tests.resilience.site import Site, eventually
from tests.tiny_model import build_tiny_sd3


def body(key: str, steps: int, pixels: int = 64) -> dict[str, Any]:
    return {"key": key, "prompt": "a cat", "width": pixels, "height": pixels, "num_inference_steps": steps}


def lasting(key: str) -> dict[str, Any]:
    """A request that takes half a second on the fastest machine, so that it is surely caught at work."""
    return body(key, steps=50, pixels=256)


def test_a_stopping_worker_finishes_its_generation_and_exits_well(site: Site) -> None:
    key = site.create_customer("finish@example.org")
    ids = [site.post("text2img", lasting(key))["id"] for _ in range(2)]
    worker = site.fork_gpu(STOP_GRACE_SECONDS=60, BATCH_IMAGES=1)
    eventually(site.claims)

    os.kill(worker, signal.SIGTERM)

    assert site.wait_gpu(worker) == 0
    assert [site.status(pk) for pk in ids] == ["success", "queued"]
    site.keep_gpu()
    eventually(site.is_idle)


def test_a_worker_makes_several_at_once_and_each_is_an_execution_to_rq(site: Site) -> None:
    key = site.create_customer("several@example.org")
    ids = [site.post("text2img", lasting(key))["id"] for _ in range(4)]
    site.keep_gpu()

    eventually(lambda: len(site.claims()) == 4)

    redis = Redis(port=site.valkey_port)
    jobs = {f"generate-{pk}-0" for pk in ids}
    made = [(worker, {one.job_id for one in worker.get_current_executions()}) for worker in BaseWorker.all(redis)]
    [(worker, executions)] = [(worker, executions) for worker, executions in made if executions & jobs]
    assert (worker.get_state(), executions) == ("busy", jobs)
    eventually(site.is_idle)
    assert [site.status(pk) for pk in ids] == ["success"] * 4
    eventually(lambda: (worker.refresh(), worker.get_state() == "idle")[1])
    assert worker.get_current_executions(refresh=True) == []
    assert {Job.fetch(f"generate-{pk}-0", redis, JSONSerializer).get_status() for pk in ids} == {"finished"}


def test_a_model_that_makes_one_image_at_a_time_takes_one_generation_at_a_time(site: Site, tmp_path: Path) -> None:
    key = site.create_customer("sd3@example.org")
    ids = [site.post("text2img", lasting(key))["id"] for _ in range(3)]
    claims = []

    worker = site.fork_gpu(MODEL=str(build_tiny_sd3(tmp_path)))
    eventually(lambda: claims.append(len(site.claims())) or site.is_idle())
    os.kill(worker, signal.SIGTERM)

    assert site.wait_gpu(worker) == 0
    assert max(claims) <= 1
    assert [site.status(pk) for pk in ids] == ["success"] * 3


def test_a_job_that_is_stopped_in_rq_cancels_what_it_makes_and_nothing_else(site: Site) -> None:
    key = site.create_customer("stopped@example.org")
    ids = [site.post("text2img", lasting(key))["id"] for _ in range(3)]
    site.keep_gpu()
    eventually(lambda: len(site.claims()) == 3)
    redis = Redis(port=site.valkey_port)

    send_stop_job_command(redis, f"generate-{ids[1]}-0", JSONSerializer)

    eventually(site.is_idle)
    outcomes = [site.status(pk) for pk in ids]
    assert sorted(outcomes) == ["canceled", "success", "success"]
    eventually(lambda: Job.fetch(f"generate-{ids[1]}-0", redis, JSONSerializer).get_status() == "stopped")
    for pk in (ids[0], ids[2]):
        assert Job.fetch(f"generate-{pk}-0", redis, JSONSerializer).get_status() == "finished"


def test_a_worker_without_grace_hands_its_generation_back_and_the_attempt_does_not_count(site: Site) -> None:
    key = site.create_customer("hand-back@example.org")
    pk = site.post("text2img", lasting(key))["id"]
    for _ in range(2):
        pid = site.fork_gpu(STOP_GRACE_SECONDS=0, MAX_ATTEMPTS=1)
        eventually(site.claims)

        os.kill(pid, signal.SIGTERM)

        assert site.wait_gpu(pid) == 0
        assert site.rows("SELECT status, attempt FROM generation_generation WHERE id = ?", pk) == [("queued", 0)]
    site.keep_gpu()
    eventually(site.is_idle)
    assert site.status(pk) == "success"


def test_a_worker_that_slept_past_its_lease_neither_publishes_nor_charges(site: Site) -> None:
    key = site.create_customer("late@example.org")
    pk = site.post("text2img", lasting(key))["id"]
    late = site.fork_gpu()
    eventually(site.claims)

    os.kill(late, signal.SIGSTOP)
    eventually(lambda: site.status(pk) == "queued")
    site.keep_gpu()
    eventually(site.is_idle)
    ended = site.rows("SELECT * FROM generation_generation WHERE id = ?", pk)
    os.kill(late, signal.SIGCONT)
    os.kill(late, signal.SIGTERM)  # it ends with what it does now

    assert site.wait_gpu(late) == 0
    assert site.status(pk) == "success"
    assert site.rows("SELECT attempt FROM generation_generation WHERE id = ?", pk) == [(2,)]
    assert site.rows("SELECT * FROM generation_generation WHERE id = ?", pk) == ended
    assert site.rows(
        "SELECT held_credits FROM billing_entry WHERE cause = ? AND kind = 'capture'", f"generation:{pk}"
    ) == [(-1,)]
    assert "all sums are right" in site.manage("check_ledger")


def test_a_worker_whose_device_broke_exits_and_the_next_one_makes_what_it_had(site: Site) -> None:
    key = site.create_customer("poisoned@example.org")
    ids = [site.post("text2img", body(key, steps=2))["id"] for _ in range(3)]

    worker = site.fork_gpu("tests.resilience.poisoned.PoisonedWorker", BATCH_IMAGES=1)

    assert site.wait_gpu(worker) == 0
    rows = site.rows("SELECT id, status, attempt FROM generation_generation WHERE id >= ? ORDER BY id", ids[0])
    assert rows == [(pk, "queued", int(pk == ids[0])) for pk in ids]
    site.keep_gpu()
    eventually(site.is_idle)
    assert [site.status(pk) for pk in ids] == ["success"] * 3


def test_everything_ends_after_valkey_lost_all_its_data(site: Site) -> None:
    key = site.create_customer("wiped@example.org")
    ids = [site.post("text2img", body(key, steps=2))["id"] for _ in range(5)]

    site.wipe_valkey()
    site.keep_gpu()
    eventually(site.is_idle, seconds=60)

    assert {site.status(pk) for pk in ids} == {"success"}
