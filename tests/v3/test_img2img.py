"""POST /api/v3/img2img"""

import base64
import re
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from billing.models import Entry
from generation.models import Generation
from tests.conftest import Api, Person


def picture(width: int = 96, height: int = 80) -> str:
    """Return a JPEG with something to see in it, as base64."""
    image = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    file = BytesIO()
    image.save(file, "JPEG")
    return base64.b64encode(file.getvalue()).decode()


def contract_body(key: str) -> dict[str, Any]:
    """Return the contract's example: strings and numbers mixed, nulls; small, for speed."""
    return {
        "key": key,
        "prompt": "a cat sitting on a bench",
        "negative_prompt": None,
        "init_image": picture(),
        "width": "64",
        "height": 64,
        "samples": "1",
        "num_inference_steps": "3",
        "safety_checker": "no",
        "enhance_prompt": "no",
        "guidance_scale": 7.5,
        "strength": "0.7",
        "seed": None,
        "base64": "no",
        "webhook": None,
        "track_id": None,
        " enhance_prompt": "no",
        "scheduler": "UniPCMultistepScheduler",
        "clip_skip": "2",
    }


@pytest.mark.django_db(transaction=True)
def test_it_answers_processing_and_then_success_with_the_contracts_types(api: Api, alice: Person, work: Any) -> None:
    processing = api.post("img2img", contract_body(alice.key)).json()
    work()
    success = api.post(f"fetch/{processing['id']}", {"key": alice.key}).json()

    prefix = success["meta"]["file_prefix"]
    seed = success["meta"]["seed"]
    assert processing == {
        "status": "processing",
        "tip": "Your image is processing in background, you can get this image using fetch API",
        "eta": processing["eta"],
        "messege": "Try to fetch request after seconds estimated",
        "message": "Try to fetch request after seconds estimated",
        "fetch_result": f"http://testserver/api/v3/fetch/{processing['id']}",
        "id": processing["id"],
        "output": [],
        "future_links": success["output"],
        "meta": success["meta"] | {"model": "starter", "revision": "", "vae": "", "credits_charged": 0},
    }
    assert isinstance(processing["eta"], float)
    assert success == {
        "status": "success",
        "generationTime": success["generationTime"],
        "id": processing["id"],
        "output": [f"http://testserver/media/generations/{prefix}-0.png"],
        "nsfw_content_detected": [False],
        "credits_charged": 1,
        "credits_remaining": 999,
        "meta": {
            "H": 64,
            "W": 64,
            "enable_attention_slicing": "true",
            "file_prefix": prefix,
            "guidance_scale": 7.5,
            "init_image": None,
            "model": success["meta"]["model"],
            "n_samples": 1,
            "negative_prompt": "",
            "outdir": "out",
            "prompt": "a cat sitting on a bench",
            "revision": success["meta"]["revision"],
            "safetychecker": "no",
            "safety_checker": "no",
            "seed": seed,
            "seeds": [seed],
            "steps": 3,
            "strength": 0.7,
            "vae": "AutoencoderKL",
            "credits_charged": 1,
        },
    }
    assert isinstance(success["generationTime"], float)
    assert isinstance(seed, int)
    assert re.fullmatch(r"[0-9a-f-]{36}", prefix)


@pytest.mark.django_db(transaction=True)
def test_the_link_gives_a_png_of_the_requested_size_by_its_path_alone(api: Api, alice: Person, work: Any) -> None:
    reply = api.post("img2img", contract_body(alice.key)).json()
    work()

    image = api.client.get(reply["future_links"][0])

    assert image["Content-Type"] == "image/png"
    assert image["Cache-Control"] == "public, max-age=31536000, immutable"
    assert Image.open(BytesIO(image.content)).size == (64, 64)


def test_it_refuses_an_empty_wallet_and_leaves_nothing_behind(api: Api, bob: Person) -> None:
    reply = api.post("img2img", contract_body(bob.key))

    assert (reply.status_code, reply.json()) == (
        200,
        {
            "status": "error",
            "message": "Insufficient credits: this request needs 1 and you have 0.",
            "tip": "Buy credits on http://testserver/billing/",
        },
    )
    assert not Generation.objects.exists()
    assert not Entry.objects.exists()


def test_it_names_every_bad_field_at_once(api: Api, alice: Person) -> None:
    body = contract_body(alice.key) | {"prompt": "", "init_image": None, "width": 65, "samples": 5, "strength": "much"}

    reply = api.post("img2img", body)

    assert reply.json() == {
        "status": "error",
        "message": {
            "prompt": ["The prompt field is required."],
            "width": ["The width must be a multiple of 8."],
            "samples": ["The samples must be between 1 and 4."],
            "init_image": ["The init image field is required."],
            "strength": ["The strength must be a number."],
        },
    }
    assert not Generation.objects.exists()
