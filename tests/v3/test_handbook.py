"""What the documentation shows is what the API says."""

import ast
import inspect
import json
from pathlib import Path
from typing import Any

from django.conf import settings

from generation.v3 import errors
from generation.v3.handbook import examples, refusals
from tests.conftest import Api, Person
from tests.v3 import bodies

HOST = "http://testserver"
OWN = {"file_prefix", "seed", "seeds", "model"}  # of each generation, and of the model that made it


def test_the_shown_parameters_are_those_of_the_shown_request(api: Api, alice: Person) -> None:
    body = examples.parameters("img2img", HOST) | {"key": alice.key}

    real = api.post("img2img", body).json()

    assert shared(examples.processing(HOST)["meta"]) == shared(real["meta"])
    made = {"revision": "local", "vae": "PatchAutoencoder", "credits_charged": 1}
    assert examples.success(HOST)["meta"] == examples.processing(HOST)["meta"] | made


def test_the_shown_model_is_the_built_in_one() -> None:
    folder = Path(settings.BASE_DIR) / "generation" / "starter"
    vae = json.loads((folder / "model_index.json").read_text())["vae"]

    meta = examples.success(HOST)["meta"]

    assert (meta["model"], meta["vae"]) == (folder.name, vae[1])


def test_every_refusal_is_shown() -> None:
    cases = ast.walk(ast.parse(inspect.getsource(errors.describe)))
    told = {ast.unparse(case.cls) for case in cases if isinstance(case, ast.MatchClass)}

    assert told <= {type(error).__name__ for _, error, _ in refusals.CASES}


def test_the_words_about_an_unusable_start_image_are_those_of_the_api(api: Api, alice: Person) -> None:
    body = bodies.img2img(alice.key, init_image="bm8gaW1hZ2U=")

    refused = api.post("img2img", body).json()

    shown = {refusal.case: json.loads(refusal.body) for refusal in refusals.refusals(HOST)}
    assert shown["The start image is unusable"] == refused


def shared(meta: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in meta.items() if name not in OWN}
