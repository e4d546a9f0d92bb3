"""kill -9, at any moment, of anything: every generation ends, once, and the credits add up."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Any

import pytest

from tests.resilience.receiver import Receiver
from tests.resilience.site import PATIENCE_SECONDS, Site, eventually

GENERATIONS = 40
KILLS = 20


def submit(site: Site, key: str, receiver: Receiver, k: int, pause_seconds: float = 0) -> int:
    """Submit a generation as a stubborn client would and return its id."""
    time.sleep(pause_seconds)
    body: dict[str, Any] = {
        "key": key,
        "prompt": "a cat",
        "width": 64,
        "height": 64,
        "samples": 1 + k % 2,
        "num_inference_steps": 10,
        "webhook": f"http://{receiver.host}/",
        "track_id": k,
    }
    while True:
        try:
            return int(site.post("text2img", body)["id"])
        except (OSError, HTTPException):  # web is down
            time.sleep(0.1)


def assert_everything_ended_once(site: Site, receiver: Receiver, email: str, ids: list[int]) -> None:
    rows = site.rows(
        "SELECT id, status, charged_credits, file_prefix, params ->> 'samples' FROM generation_generation"
        " WHERE account_id = (SELECT id FROM accounts_user WHERE email = ?)",
        email,
    )
    entries = site.rows(
        "SELECT kind, cause, held_credits FROM billing_entry JOIN accounts_user ON wallet_id = accounts_user.id"
        " WHERE email = ? AND kind != 'grant'",
        email,
    )
    [(balance, held)] = site.rows(
        "SELECT balance, held FROM billing_wallet JOIN accounts_user ON user_id = accounts_user.id WHERE email = ?",
        email,
    )

    assert set(ids) <= {row[0] for row in rows}
    assert {status for _, status, *_ in rows} <= {"success", "failed"}
    delivered = 0
    for pk, status, charged, prefix, samples in rows:
        captured = [-credits for kind, cause, credits in entries if (kind, cause) == ("capture", f"generation:{pk}")]
        name = f"{prefix[:8]}-{prefix[8:12]}-{prefix[12:16]}-{prefix[16:20]}-{prefix[20:]}"
        images = sorted((site.folder / "media" / "generations").glob(f"{name}-*.png"))
        if status == "success":
            assert captured == [charged] == [samples]
            assert [image.name for image in images] == [f"{name}-{k}.png" for k in range(samples)]
            assert all(image.read_bytes().endswith(b"IEND\xaeB`\x82") for image in images)
            delivered += samples
        else:
            assert (captured, charged) == ([], 0)
    assert delivered > 0
    assert (balance, held) == (1000 - delivered, 0)
    assert "all sums are right" in site.manage("check_ledger")

    eventually(lambda: {row[0] for row in rows} <= set(receiver.bodies), PATIENCE_SECONDS)
    assert {row[0]: row[1] for row in rows} == {row[0]: receiver.bodies[row[0]]["status"] for row in rows}
    assert set(receiver.accepted.values()) == {1}


@pytest.mark.timeout(400)
def test_every_generation_ends_when_the_gpu_worker_is_killed_twenty_times(site: Site, receiver: Receiver) -> None:
    moments = random.Random(20)
    key = site.create_customer("kills@example.org")
    with ThreadPoolExecutor(4) as clients:
        ids = list(clients.map(lambda k: submit(site, key, receiver, k), range(GENERATIONS)))

    interrupted, dead = 0, set[tuple[int, int]]()  # claims of workers that were killed
    site.keep_gpu()
    for _ in range(KILLS):
        eventually(lambda: site.claims() - dead)
        time.sleep(moments.uniform(0, 0.3))
        site.kill_gpus()
        interrupted += len(site.claims() - dead)
        dead.update(site.claims())
    eventually(site.is_idle, PATIENCE_SECONDS)

    assert len(ids) == GENERATIONS
    assert interrupted >= 10  # else this proved nothing
    assert_everything_ended_once(site, receiver, "kills@example.org", ids)


@pytest.mark.timeout(400)
def test_every_generation_ends_when_valkey_and_web_are_killed_as_well(site: Site, receiver: Receiver) -> None:
    moments = random.Random(21)
    key = site.create_customer("more-kills@example.org")
    with ThreadPoolExecutor(4) as clients:
        submissions = [clients.submit(submit, site, key, receiver, k, 1.0) for k in range(GENERATIONS // 2)]
        site.keep_gpu()
        dead = set[tuple[int, int]]()
        for _ in range(KILLS // 2):
            eventually(lambda: site.claims() - dead)
            time.sleep(moments.uniform(0, 0.3))
            for name in ("valkey", "web"):
                site.kill(name)
            site.kill_gpus()
            dead.update(site.claims())
        ids = [submission.result() for submission in submissions]
    eventually(site.is_idle, PATIENCE_SECONDS)

    assert_everything_ended_once(site, receiver, "more-kills@example.org", ids)
