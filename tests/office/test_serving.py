"""The admin's page of the served models."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from generation import queue
from generation.usage import Use
from office.serving import served
from tests.conftest import Person
from tests.office.test_dashboard import make
from tests.sessions import logged_in

ADDRESS = "/admin/models/"


@pytest.fixture(autouse=True)
def _default(settings: Any) -> None:
    settings.MODEL = "example/painter"


def rows(client: Client) -> list[list[str]]:
    """Return the words of the table's cells."""
    page = client.get(ADDRESS).content.decode()
    body = page[page.index("<tbody>") : page.index("</tbody>")]
    return [
        [" ".join(re.sub("<[^>]*>", " ", cell).split()) for cell in re.findall("<td.*?</td>", row, re.DOTALL)]
        for row in body.split("</tr>")[:-1]
    ]


def test_it_tells_what_is_loaded_where_and_how_each_model_did(staff: Client, alice: Person) -> None:
    for worker, device in {"one": "cuda:0", "two": "cuda:1", "three": "cuda:1"}.items():
        queue.beat(worker, {"rss_bytes": 5, "model": "example/painter", "device": device})
    for _ in range(3):
        make(alice, model="example/painter")
    make(alice, ends="failure", model="example/painter")
    make(alice, model="older")
    make(alice, ends="failure", model="")

    [default, older, none] = rows(staff)

    assert default[:6] == ["example/painter default", "cuda:0, cuda:1 × 2", "4", "3", "1 (25.0 %)", "0"]
    assert re.fullmatch(r"\d+\.\d s", default[6])
    assert older[:6] == ["older", "–", "1", "1", "0", "0"]
    assert none == ["none: it ended before it came to one", "–", "1", "0", "1 (100.0 %)", "0", "–"]


def test_the_default_is_there_before_anything_was_made_and_a_silent_worker_is_said(staff: Client) -> None:
    assert rows(staff) == [["example/painter default", "no worker answers", "0", "0", "0", "0", "–"]]


def test_a_model_in_a_folder_goes_by_the_folder_s_name(db: None, settings: Any, tmp_path: Any) -> None:
    settings.MODEL = str(tmp_path)

    [default] = served()

    assert (default.name, default.is_default, default.use, default.failed_percent) == (tmp_path.name, True, Use(), None)


def test_it_is_for_staff_who_may_see_generations(bob: Person) -> None:
    client = logged_in(bob.user)
    assert client.get(ADDRESS).status_code == 302

    bob.user.is_staff = True
    bob.user.save()
    assert client.get(ADDRESS).status_code == 403

    bob.user.user_permissions.add(Permission.objects.get(codename="view_generation"))
    assert client.get(ADDRESS).status_code == 200
