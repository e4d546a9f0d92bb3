"""generation.serving: one name for the model, wherever it is asked for."""

from typing import Any

import pytest

from generation import queue, serving
from office.serving import served


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("stabilityai/sd-turbo", "stabilityai/sd-turbo"),
        ("runwayml/stable-diffusion-v1.5", "runwayml/stable-diffusion-v1.5"),
        ("gpt2", "gpt2"),
        ("generation/starter", "generation/starter"),  # a folder as well as a hub id, by how it is written
        ("generation/starter/", "starter"),
        ("./generation/starter", "starter"),
        ("../starter", "starter"),
        ("~/starter", "starter"),
        ("models/sd/starter", "starter"),
        ("/models/starter", "starter"),
        ("/models/starter/", "starter"),
        ("/models/x.safetensors", "x.safetensors"),
        ("models/x.safetensors", "x.safetensors"),
        ("x.safetensors", "x.safetensors"),
        ("/", "/"),
    ],
)
def test_a_path_goes_by_its_last_part_and_a_hub_id_by_all_of_it(settings: Any, model: str, name: str) -> None:
    settings.MODEL = model

    assert serving.served_model() == name


def test_the_admin_knows_the_default_by_the_name_that_its_worker_tells(db: None, settings: Any) -> None:
    settings.MODEL = "/models/not-on-this-machine.safetensors"
    queue.beat("one", {"model": "not-on-this-machine.safetensors", "device": "cuda:0"})

    assert [(model.name, model.is_default, model.where) for model in served()] == [
        ("not-on-this-machine.safetensors", True, "cuda:0")
    ]
