"""GET /metrics"""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from generation import queue, services, usage
from generation.models import Delivery, Endpoint, Generation, Host, UsageDay
from generation.params import Inputs
from generation.webhooks import listening
from tests.conftest import Api, Person
from tests.generation.conftest import small
from tests.v3 import bodies


def read(client: Client, **headers: str) -> dict[tuple[str, ...], float]:
    """Return every sample by its name and the values of its labels."""
    text = client.get("/metrics", headers=headers).content.decode()
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples}


def test_it_tells_the_state_of_the_site(db: None, client: Client, alice: Person) -> None:
    submitted = [
        services.submit(alice.user, small(), Inputs(), webhook_url="https://example.org/", api_key=alice.api_key)
        for _ in range(4)
    ]
    claim = services.claim(submitted[0].pk)
    assert claim
    services.succeed(claim, [False], 1.5, 1.5, "tiny", "", "", computed_at=timezone.now())
    services.cancel(submitted[1].pk)
    services.claim(submitted[2].pk)
    queue.beat("one", {"rss_bytes": 5, "gpu_bytes": 7})

    told = read(client)

    assert told["atelier_generations_total", "success"] == 1
    assert told["atelier_generations_total", "canceled"] == 1
    assert told["atelier_queue_length",] == 1
    assert told["atelier_queue_age_seconds",] > 0
    assert told["atelier_seconds_per_credit",] == 1.5
    assert told["atelier_eta_kept_ratio",] == 1
    assert told["atelier_generations_running",] == 1
    assert told["atelier_images_total",] == 1
    assert told["atelier_charged_credits_total",] == 1
    assert told["atelier_unspent_credits",] == 1000 - 3
    assert told["atelier_held_credits",] == 2
    assert told["atelier_webhooks_pending",] == 2
    assert told["atelier_gpu_workers",] == 1
    assert told["atelier_gpu_worker_gpu_bytes", "one"] == 7
    assert all(told["atelier_phase_seconds", phase] > 0 for phase in ("wait", "compute", "store"))


@pytest.fixture
def delivery(alice: Person) -> Delivery:
    """What has been due for ten minutes, to an endpoint of alice's."""
    endpoint = Endpoint.objects.create(account=alice.user, url="https://example.org/")
    told = listening.ping(endpoint)
    Delivery.objects.filter(pk=told.pk).update(due_at=timezone.now() - timedelta(minutes=10))
    return told


def test_what_nobody_has_sent_is_late(client: Client, delivery: Delivery) -> None:
    assert late_seconds(client) == pytest.approx(600, abs=30)


def test_what_waits_behind_an_open_circuit_is_late_only_from_its_end_on(client: Client, delivery: Delivery) -> None:
    host = Host.objects.filter(pk=delivery.host_id)

    host.update(open_until=timezone.now() + timedelta(minutes=1))
    assert late_seconds(client) == 0
    host.update(open_until=timezone.now() - timedelta(minutes=2))
    assert late_seconds(client) == pytest.approx(120, abs=30)


def test_what_waits_for_an_endpoint_that_is_off_is_never_late(client: Client, delivery: Delivery) -> None:
    Endpoint.objects.update(is_on=False)

    assert late_seconds(client) == 0


def late_seconds(client: Client) -> float:
    return read(client)["atelier_webhooks_late_seconds",]


def test_it_tells_how_long_a_worker_s_steps_take(db: None, client: Client) -> None:
    queue.beat("one", {"step_buckets": [("0.1", 2.0), ("+Inf", 3.0)], "step_seconds": 5.5})
    queue.beat("old", {})

    told = {name: value for name, value in read(client).items() if name[0].startswith("atelier_step_seconds")}

    assert told == {
        ("atelier_step_seconds_bucket", "0.1", "one"): 2,
        ("atelier_step_seconds_bucket", "+Inf", "one"): 3,
        ("atelier_step_seconds_count", "one"): 3,
        ("atelier_step_seconds_sum", "one"): 5.5,
    }


def test_what_was_summed_up_is_told_as_it_was(db: None, client: Client, alice: Person) -> None:
    yesterday = timezone.now() - timedelta(days=2)
    for images in (1, 2):
        claim = services.claim(services.submit(alice.user, small(samples=images), Inputs()).pk)
        assert claim
        services.succeed(claim, [False] * images, 1.0, 1.0, "tiny", "", "")
    Generation.objects.filter(pk=claim.pk).update(created_at=yesterday, started_at=yesterday, finished_at=yesterday)
    before = ended(client)

    usage.sum_up()

    assert UsageDay.objects.exists()
    assert ended(client) == before
    assert before["atelier_images_total",] == 3


def ended(client: Client) -> dict[tuple[str, ...], float]:
    """Return what is told of generations that are over."""
    ours = ("atelier_generations_total", "atelier_images_total", "atelier_charged_credits_total")
    return {name: value for name, value in read(client).items() if name[0] in ours}


def test_an_empty_site_has_metrics_too(db: None, client: Client) -> None:
    assert read(client)["atelier_queue_length",] == 0


def test_requests_are_counted_by_view_and_not_by_address(api: Api, alice: Person) -> None:
    before = read(api.client)
    for pk in range(3):
        api.post(f"fetch/{pk}", {"key": alice.key})
    api.post("text2img", bodies.text2img(alice.key))

    after = read(api.client)

    grown = {name: value - before.get(name, 0) for name, value in after.items() if name[0] == "atelier_requests_total"}
    assert {name[3]: value for name, value in grown.items() if name[1] == "POST" and value} == {
        "generation.v3.views.FetchByPathView": 3,
        "generation.v3.views.Text2ImgView": 1,
    }


@pytest.mark.parametrize(
    ("address", "token", "status"),
    [
        ("127.0.0.1", "", 200),
        ("203.0.113.9", "", 404),
        ("203.0.113.9", "Bearer right", 200),
        ("203.0.113.9", "bearer right", 200),
        ("203.0.113.9", "Bearer wrong", 404),
        ("203.0.113.9", "Bearer ", 404),
        ("203.0.113.9", "right", 404),
    ],
)
def test_only_those_who_may_ask_are_answered(
    db: None, client: Client, settings: Any, address: str, token: str, status: int
) -> None:
    settings.METRICS_TOKEN = "right"
    settings.METRICS_ADDRESSES = ["127.0.0.0/8"]

    assert client.get("/metrics", headers={"Authorization": token}, REMOTE_ADDR=address).status_code == status


def test_without_a_token_none_is_right(db: None, client: Client, settings: Any) -> None:
    settings.METRICS_TOKEN, settings.METRICS_ADDRESSES = "", []

    assert client.get("/metrics", headers={"Authorization": "Bearer "}).status_code == 404
