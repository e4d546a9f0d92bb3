"""Start images that are links: fetched before the work, refused in words, never charged."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from generation import jobs, queue, services
from generation.models import Generation, Status
from generation.sweep import sweep
from tests.conftest import Api, Person
from tests.generation.hostile_server import HostileServer, answer, serving
from tests.v3 import bodies

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def host(settings: Any) -> Iterator[HostileServer]:
    with serving() as server:
        settings.FETCH_ALLOWED_HOSTS = frozenset({server.host})
        yield server


def test_a_link_is_fetched_and_shown_in_meta(alice: Person, make: Make, host: HostileServer) -> None:
    link = host.url("/bench.png?size=1", answer(bodies.picture()))

    by_link = make("img2img", bodies.img2img(alice.key, init_image=link, base64="no", seed=7))
    by_text = make("img2img", bodies.img2img(alice.key, seed=7))

    assert (by_link["status"], by_link["meta"]["init_image"]) == ("success", link)
    assert by_text["meta"]["init_image"] is None
    assert by_link["meta"]["seed"] == by_text["meta"]["seed"]


def test_a_link_and_the_same_image_as_text_give_the_same_pixels(
    api: Api, alice: Person, make: Make, host: HostileServer
) -> None:
    link = host.url("/bench.png", answer(bodies.picture()))
    mask_link = host.url("/mask.png", answer(bodies.mask()))

    by_link = make("inpaint", bodies.inpaint(alice.key, init_image=link, mask_image=mask_link, seed=7))
    by_text = make("inpaint", bodies.inpaint(alice.key, seed=7))

    first, second = (api.client.get(reply["output"][0]).content for reply in (by_link, by_text))
    assert first == second


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (answer(status="404 Not Found"), "The link answered with HTTP status 404 instead of a file."),
        (
            answer(b"<html>"),
            "The file is not an image that can be read; send PNG, JPEG, WebP, GIF, BMP or AVIF.",
        ),
        (b"", "The host of the link can't be reached or broke off."),
        (answer(b"x" * 100, Content_Length=str(21 * 2**20)), "The file behind the link is larger than 20 MB."),
        (answer(bodies.picture()[:-200]), "The image is damaged or incomplete."),
    ],
    ids=["dead", "no image", "hangs up", "too large", "damaged"],
)
def test_a_link_that_gives_no_image_fails_in_words_and_costs_nothing(
    alice: Person, make: Make, host: HostileServer, reply: bytes, words: str
) -> None:
    link = host.url("/a.png", reply)

    failed = make("img2img", bodies.img2img(alice.key, init_image=link, track_id=3))

    assert failed == {"status": "failed", "id": failed["id"], "message": words, "output": [], "track_id": 3}
    assert alice.balance == 1000


def test_a_link_into_our_own_network_is_not_followed(
    alice: Person, make: Make, host: HostileServer, settings: Any
) -> None:
    link = host.url("/secret.png", answer(bodies.picture()))
    settings.FETCH_ALLOWED_HOSTS = frozenset()

    failed = make("img2img", bodies.img2img(alice.key, init_image=link))

    assert failed["message"] == "The link leads to an address that is not on the public internet."
    assert not host.requests
    assert alice.balance == 1000


def break_inputs(settings: Any, tmp_path: Path) -> None:
    """Let every writing of a start image fail."""
    (tmp_path / "full").touch()
    inputs = settings.STORAGES["inputs"] | {"OPTIONS": {"location": tmp_path / "full"}}
    settings.STORAGES = settings.STORAGES | {"inputs": inputs}


def test_a_link_is_fetched_again_after_the_storage_failed(
    transactional_db: None,
    api: Api,
    alice: Person,
    host: HostileServer,
    work: Callable[[], None],
    settings: Any,
    tmp_path: Path,
) -> None:
    link = host.url("/a.png", answer(bodies.picture()))
    pk = api.post("img2img", bodies.img2img(alice.key, init_image=link)).json()["id"]
    generations = Generation.objects.filter(pk=pk)
    well = settings.STORAGES
    break_inputs(settings, tmp_path)

    jobs.fetch_inputs()

    assert generations.get().status == Status.QUEUED
    assert alice.balance == 999  # still held
    settings.STORAGES = well
    queue.redis().flushdb()
    generations.update(nudged_at=timezone.now() - timedelta(minutes=1), fetch_lease_until=timezone.now())
    sweep()
    assert queue.named("fetch").get_job_ids() == [f"fetch-{pk}-0"]
    work()
    assert generations.get().status == Status.SUCCESS
    assert len(host.requests) == 2


def test_a_link_whose_image_the_storage_never_took_is_given_up(
    transactional_db: None, api: Api, alice: Person, host: HostileServer, settings: Any, tmp_path: Path
) -> None:
    link = host.url("/a.png", answer(bodies.picture()))
    pk = api.post("img2img", bodies.img2img(alice.key, init_image=link)).json()["id"]
    generations = Generation.objects.filter(pk=pk)
    generations.update(created_at=timezone.now() - settings.MAX_ATTEMPTS * services.FETCH_LEASE)
    break_inputs(settings, tmp_path)

    jobs.fetch_inputs()

    assert (generations.get().status, generations.get().message) == (Status.FAILED, "Failed, Try Again")
    assert alice.balance == 1000


def test_an_image_that_is_none_is_refused_at_once(api: Api, alice: Person) -> None:
    before = bodies.written()

    reply = api.post("inpaint", bodies.inpaint(alice.key, init_image="aGVsbG8=", mask_image="data:image/png;base64,"))

    assert reply.json() == {
        "status": "error",
        "message": {
            "init_image": ["The file is not an image that can be read; send PNG, JPEG, WebP, GIF, BMP or AVIF."],
            "mask_image": ["The image is empty."],
        },
    }
    assert bodies.written() == before


def test_an_image_that_is_too_large_is_refused_at_once(api: Api, alice: Person) -> None:
    reply = api.post("img2img", bodies.img2img(alice.key, init_image="A" * (29 * 2**20)))

    assert reply.json() == {"status": "error", "message": {"init_image": ["The image is larger than 20 MB."]}}
    assert not Generation.objects.exists()


def test_a_damaged_image_fails_in_words_and_costs_nothing(alice: Person, make: Make) -> None:
    damaged = bodies.as_text(bodies.picture()[:-200])

    failed = make("img2img", bodies.img2img(alice.key, init_image=damaged))

    assert (failed["status"], failed["message"]) == ("failed", "The image is damaged or incomplete.")
    assert alice.balance == 1000
