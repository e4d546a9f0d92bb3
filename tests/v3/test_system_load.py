"""POST /api/v3/system_load"""

from generation import services
from tests.conftest import Api, Person
from tests.v3 import bodies


def test_an_idle_site_has_an_empty_queue(api: Api, alice: Person) -> None:
    assert api.post("system_load", {"key": alice.key}).json() == {"queue_num": 0, "queue_time": 0, "status": "ok"}


def test_it_counts_what_everybody_waits_for_in_whole_seconds(api: Api, alice: Person, bob: Person) -> None:
    pks = [api.post("text2img", bodies.text2img(alice.key, samples=samples)).json()["id"] for samples in (1, 2, 3)]
    services.claim(pks[0])
    services.cancel(pks[2])

    load = api.post("system_load", {"key": bob.key}).json()

    assert load == {"queue_num": 2, "queue_time": 39, "status": "ok"}  # 3 credits × 10 s × 1.3
    assert {type(load["queue_num"]), type(load["queue_time"])} == {int}


def test_it_needs_a_key(api: Api) -> None:
    assert api.post("system_load").json()["message"] == "Invalid Api Key"
