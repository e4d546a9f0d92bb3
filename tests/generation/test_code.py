"""Copying a request as a program: what is copied is what was asked for, with its images in it."""

import ast
import base64
import json
import subprocess
from random import Random
from typing import Any

import pytest
from django.test import Client

from generation import samples, services, storage
from generation.models import Generation
from generation.params import Inputs
from tests.conftest import Api, Person
from tests.generation.conftest import Submit
from tests.sessions import logged_in
from tests.v3.bodies import mask, picture

HOSTILE = 'it\'s a $HOME `cat` \\ "here" $(ls)\nJSON\n</script> ${x} Öl 🐈'
# Says what curl would have sent: the last argument, or what comes on standard input.
SENT = 'curl() { if [ "${@: -1}" = @- ]; then cat; else printf %s "${@: -1}"; fi; }\n'


@pytest.fixture
def site(alice: Person) -> Client:
    """Alice's browser."""
    return logged_in(alice.user)


def copies(site: Client, generation: Generation) -> dict[str, str]:
    reply = site.get(f"/history/{generation.pk}/code")
    assert reply.status_code == 200
    found = reply.json()["samples"]
    assert [(sample["language"], sample["label"]) for sample in found] == list(samples.LABELS.items())
    return {sample["language"]: sample["text"] for sample in found}


def sent_by(curl: str) -> Any:
    """Return the body that the command sends, after bash has read it."""
    assert subprocess.run(["bash", "-n"], input=curl, text=True, capture_output=True, check=True).stderr == ""
    return json.loads(subprocess.run(["bash"], input=SENT + curl, text=True, capture_output=True, check=True).stdout)


def expected(generation: Generation, **images: bytes) -> dict[str, Any]:
    """Return the body that makes it again."""
    params = {name: value for name, value in generation.params.items() if name != "mode"}
    return {"key": "YOUR_API_KEY"} | params | {name: base64.b64encode(data).decode() for name, data in images.items()}


def test_the_command_holds_the_parameters_whatever_the_words_are(site: Client, submit: Submit) -> None:
    generation = submit(prompt=HOSTILE, negative_prompt="'\"\\")

    found = copies(site, generation)

    assert found["curl"].startswith("curl http://testserver/api/v3/text2img ")
    assert sent_by(found["curl"]) == expected(generation)


def test_the_command_holds_the_start_image_and_the_mask(site: Client, submit: Submit) -> None:
    inputs = Inputs(init_image_name=storage.save_input(picture()), mask_image_name=storage.save_input(mask()))
    generation = submit(inputs, mode="inpaint", strength=0.5)

    found = copies(site, generation)

    assert "/api/v3/inpaint " in found["curl"]
    assert sent_by(found["curl"]) == expected(generation, init_image=picture(), mask_image=mask())


def test_a_long_image_comes_on_standard_input(site: Client, submit: Submit) -> None:
    image = Random(7).randbytes(300_000)  # longer as base64 than Linux takes as one argument
    generation = submit(Inputs(init_image_name=storage.save_input(image)), mode="img2img", prompt=HOSTILE)

    command = copies(site, generation)["curl"]

    assert "<<'JSON'\n" in command
    assert command.endswith("\nJSON")
    assert sent_by(command) == expected(generation, init_image=image)


def test_a_link_stays_a_link(site: Client, submit: Submit) -> None:
    link = "https://example.org/cat.png?a='b'"
    generation = submit(Inputs(init_image_url=link), mode="img2img")

    assert sent_by(copies(site, generation)["curl"])["init_image"] == link


def test_python_reads_its_copy(site: Client, submit: Submit) -> None:
    generation = submit(Inputs(init_image_name=storage.save_input(picture())), mode="img2img", prompt=HOSTILE)

    [call] = [
        node
        for node in ast.walk(ast.parse(copies(site, generation)["python"]))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "requests.post"
    ]

    body = next(keyword.value for keyword in call.keywords if keyword.arg == "json")
    assert ast.literal_eval(body) == expected(generation, init_image=picture())


def test_the_copy_is_accepted_and_makes_the_same(site: Client, api: Api, alice: Person, submit: Submit) -> None:
    generation = submit(Inputs(init_image_name=storage.save_input(picture())), mode="img2img", strength=0.5)

    reply = api.post("img2img", sent_by(copies(site, generation)["curl"]) | {"key": alice.key}).json()

    again = Generation.objects.get(pk=reply["id"])
    assert (reply["status"], again.params) == ("processing", generation.params)
    assert storage.read_input(again.init_image_name) == picture()


def test_the_address_is_the_public_one(site: Client, submit: Submit, settings: Any) -> None:
    settings.PUBLIC_URL = "https://images.example"

    assert all("https://images.example/api/v3/text2img" in text for text in copies(site, submit()).values())


def test_nobody_else_may_copy_it(bob: Person, submit: Submit) -> None:
    generation = submit()
    services.cancel(generation.pk)

    assert logged_in(bob.user).get(f"/history/{generation.pk}/code").status_code == 404
