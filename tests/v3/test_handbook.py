"""What the documentation shows is what the API says."""

import json
from pathlib import Path
from typing import Any

from django.conf import settings

from generation.v3.handbook import examples
from tests.conftest import Api, Person

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


def shared(meta: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in meta.items() if name not in OWN}
