"""Files that a row names and the storage has no more, lost or removed in time: said, and never an error."""

import base64
import json
from collections.abc import Callable

import pytest
from django.test import Client
from django.utils import timezone

from generation import services, storage
from generation.models import Generation
from generation.params import Inputs
from tests.conftest import Person
from tests.generation.conftest import Submit
from tests.sessions import logged_in
from tests.v3.bodies import mask, picture, written

SCRIPT, BROWSER = {"HTTP_ACCEPT": "application/json"}, {"HTTP_ACCEPT": "text/html,*/*"}
NO_START = "The start image is no longer stored: choose one in the playground."
NO_MASK = "The mask is no longer stored: choose one in the playground."


@pytest.fixture
def site(alice: Person) -> Client:
    """Alice's browser."""
    return logged_in(alice.user)


@pytest.fixture
def repainted(submit: Submit) -> Generation:
    """A success with a start image, a mask and an image."""
    inputs = Inputs(init_image_name=storage.save_input(picture()), mask_image_name=storage.save_input(mask()))
    claim = services.claim(submit(inputs, mode="inpaint", strength=0.5).pk)
    assert claim
    storage.save_image(claim, 0, picture(), as_base64=False)
    services.succeed(claim, [False], 1.0, 1.0, "tiny", "1", "tiny")
    return Generation.objects.get(pk=claim.pk)


def lose(generation: Generation) -> None:
    storage.delete_inputs(generation)


def expire(generation: Generation) -> None:
    storage.delete_inputs(generation)
    Generation.objects.update(inputs_expired_at=timezone.now())


gone = pytest.mark.parametrize("remove", [lose, expire])


def python_sample(site: Client, generation: Generation) -> tuple[str, list[str]]:
    reply = site.get(f"/history/{generation.pk}/code")
    assert reply.status_code == 200
    [text] = [sample["text"] for sample in reply.json()["samples"] if sample["language"] == "python"]
    return text, reply.json()["lost"]


@gone
def test_a_copied_program_says_which_images_to_put_in(
    site: Client, repainted: Generation, remove: Callable[[Generation], None]
) -> None:
    remove(repainted)

    text, lost = python_sample(site, repainted)

    assert lost == ["start image", "mask"]
    assert '"YOUR_START_IMAGE"' in text
    assert '"YOUR_MASK"' in text


def test_a_program_with_all_its_images_misses_nothing(site: Client, repainted: Generation) -> None:
    text, lost = python_sample(site, repainted)

    assert lost == []
    assert base64.b64encode(picture()).decode() in text


def test_an_image_that_came_by_a_link_is_asked_for_there_again(site: Client, submit: Submit) -> None:
    link = "https://example.org/cat.png"
    generation = submit(Inputs(init_image_url=link, init_image_name="lost"), mode="img2img", strength=0.5)

    text, lost = python_sample(site, generation)
    again = site.post(f"/history/{generation.pk}/again", **SCRIPT).json()

    assert lost == []
    assert json.dumps(link) in text
    assert Generation.objects.get(pk=again["id"]).init_image_url == link


@gone
def test_run_again_is_refused_beside_the_field_and_nothing_is_written(
    site: Client, repainted: Generation, remove: Callable[[Generation], None]
) -> None:
    remove(repainted)
    before = written()

    reply = site.post(f"/history/{repainted.pk}/again", **SCRIPT)

    assert (reply.status_code, reply.json()) == (
        400,
        {"errors": {"init_image": [NO_START], "mask_image": [NO_MASK]}},
    )
    assert written() == before


def test_run_again_is_refused_on_the_page_too(site: Client, repainted: Generation) -> None:
    lose(repainted)

    reply = site.post(f"/history/{repainted.pk}/again", **BROWSER, follow=True)

    assert reply.redirect_chain == [(f"/history/{repainted.pk}/", 302)]
    assert f"{NO_START} {NO_MASK}" in reply.content.decode()
    assert Generation.objects.count() == 1


@gone
@pytest.mark.parametrize("name", ["init", "mask"])
def test_inputs_are_not_found(
    site: Client, repainted: Generation, remove: Callable[[Generation], None], name: str
) -> None:
    remove(repainted)

    assert site.get(f"/history/{repainted.pk}/inputs/{name}").status_code == 404


def test_images_are_not_found(site: Client, repainted: Generation) -> None:
    link = storage.url(repainted, 0, as_base64=False)
    assert [site.get(address).status_code for address in (f"/history/{repainted.pk}/images/0.png", link)] == [200, 200]

    storage.delete_images(repainted)

    assert [site.get(address).status_code for address in (f"/history/{repainted.pk}/images/0.png", link)] == [404, 404]


def test_its_pages_work_without_any_of_its_files(site: Client, repainted: Generation) -> None:
    lose(repainted)
    storage.delete_images(repainted)

    pages = (f"/history/{repainted.pk}/", f"/playground/?from={repainted.pk}", "/history/", "/history/?view=table")
    assert [site.get(address).status_code for address in pages] == [200] * 4
