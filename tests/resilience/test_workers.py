"""Workers that stop, sleep or lose their queue."""

import os
import signal
from typing import Any

from tests.resilience.site import Site, eventually


def body(key: str, steps: int) -> dict[str, Any]:
    return {"key": key, "prompt": "a cat", "width": 64, "height": 64, "num_inference_steps": steps}


def test_a_stopping_worker_finishes_its_generation_and_exits_well(site: Site) -> None:
    key = site.create_customer("finish@example.org")
    ids = [site.post("text2img", body(key, steps=20))["id"] for _ in range(2)]
    worker = site.start("gpu", STOP_GRACE_SECONDS="60", BATCH_IMAGES="1")
    eventually(site.claims)

    worker.terminate()

    assert worker.wait(60) == 0
    assert [site.status(pk) for pk in ids] == ["success", "queued"]
    site.keep_gpu()
    eventually(site.is_idle)


def test_a_worker_without_grace_hands_its_generation_back_and_the_attempt_does_not_count(site: Site) -> None:
    key = site.create_customer("hand-back@example.org")
    pk = site.post("text2img", body(key, steps=50))["id"]
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
    pk = site.post("text2img", body(key, steps=30))["id"]
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


def test_everything_ends_after_valkey_lost_all_its_data(site: Site) -> None:
    key = site.create_customer("wiped@example.org")
    ids = [site.post("text2img", body(key, steps=2))["id"] for _ in range(5)]

    site.wipe_valkey()
    site.keep_gpu()
    eventually(site.is_idle, seconds=60)

    assert {site.status(pk) for pk in ids} == {"success"}
