"""`base64: yes`: links to text, or the text itself where the site says so."""

import base64
from collections.abc import Callable
from io import BytesIO
from typing import Any

from PIL import Image

from generation import storage
from generation.models import Generation
from tests.conftest import Api, Person
from tests.v3 import bodies

Make = Callable[..., dict[str, Any]]


def test_links_end_in_base64_and_their_body_is_the_bare_text(api: Api, alice: Person, make: Make) -> None:
    reply = make("img2img", bodies.img2img(alice.key, base64="yes", samples=2))

    texts = [api.client.get(link) for link in reply["output"]]
    pngs = [api.client.get(link.removesuffix(".base64") + ".png").content for link in reply["output"]]

    prefix = reply["meta"]["file_prefix"]
    assert reply["output"] == [f"http://testserver/media/generations/{prefix}-{k}.base64" for k in range(2)]
    assert [text["Content-Type"] for text in texts] == ["text/plain", "text/plain"]
    assert [base64.b64decode(text.content, validate=True) for text in texts] == pngs
    assert Image.open(BytesIO(pngs[0])).size == (64, 64)


def test_future_links_are_the_links_that_will_be(api: Api, alice: Person, work: Any, transactional_db: None) -> None:
    processing = api.post("text2img", bodies.text2img(alice.key, base64="yes")).json()
    work()

    success = api.post(f"fetch/{processing['id']}", {"key": alice.key}).json()

    assert processing["future_links"] == success["output"]


def test_a_site_may_answer_the_text_itself(api: Api, alice: Person, make: Make, settings: Any) -> None:
    settings.V3_INLINE_BASE64 = True

    inline = make("text2img", bodies.text2img(alice.key, base64="yes", seed=7))
    link = make("text2img", bodies.text2img(alice.key, base64="no", seed=7))

    [text] = inline["output"]
    decoded = Image.open(BytesIO(base64.b64decode(text, validate=True)))
    linked = Image.open(BytesIO(api.client.get(link["output"][0]).content))
    assert decoded.tobytes() == linked.tobytes()


def test_text_that_is_lost_is_answered_as_the_link_where_it_was(
    api: Api, alice: Person, make: Make, settings: Any
) -> None:
    settings.V3_INLINE_BASE64 = True
    reply = make("text2img", bodies.text2img(alice.key, base64="yes"))
    storage.delete_images(Generation.objects.get())

    again = api.post(f"fetch/{reply['id']}", {"key": alice.key}).json()

    link = f"http://testserver/media/generations/{reply['meta']['file_prefix']}-0.base64"
    assert again == reply | {"output": [link]}
    assert api.client.get(link).status_code == 404


def test_without_it_there_is_no_text(api: Api, alice: Person, make: Make) -> None:
    reply = make("text2img", bodies.text2img(alice.key, base64="no"))

    assert reply["output"][0].endswith("-0.png")
    assert api.client.get(reply["output"][0].removesuffix(".png") + ".base64").status_code == 404
