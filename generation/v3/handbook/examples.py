"""Requests and answers to show; tests run each request, and hold each answer against a real one."""

from typing import Any

from generation import pricing
from generation.models import Generation
from generation.params import Params
from generation.services import TRY_AGAIN
from generation.v3 import replies

EXAMPLE_ID = 5120041
PREFIX = "3f0c1d52-9a64-4f0b-8f5e-5b7c2a9d1e10"


def parameters(name: str, base_url: str, generation_id: int = EXAMPLE_ID) -> dict[str, Any]:
    """Return what to send to the endpoint; the key comes to it."""
    picture: dict[str, Any] = {"width": 512, "height": 512, "samples": 1, "num_inference_steps": 31, "seed": None}
    start = {"init_image": f"{base_url}/static/samples/cat.jpg"}
    requests: dict[str, dict[str, Any]] = {
        "text2img": {"prompt": "a red rocket in the snow"} | picture,
        "img2img": {"prompt": "a cat sitting on a bench"} | start | {"strength": 0.7} | picture,
        "inpaint": {"prompt": "a cat with a hat"}
        | start
        | {"mask_image": f"{base_url}/static/samples/cat-mask.png"}
        | picture,
        "fetch": {"request_id": generation_id},
        "cancel": {"request_id": generation_id},
        "events": {"cursor": 0, "limit": 10},
        "price": {"mode": "text2img", "width": 512, "height": 512, "samples": 1, "num_inference_steps": 31},
    }
    return requests.get(name, {})


def path(name: str, generation_id: int = EXAMPLE_ID) -> str:
    """Return what comes after /api/v3/, with the id where one belongs."""
    return name.replace("{id}", str(generation_id))


def generation(base_url: str) -> Generation:
    """Return what the answers are about: the example of img2img, which no database knows."""
    asked = parameters("img2img", base_url)
    init_image_url = asked.pop("init_image")
    params = Params(mode="img2img", **asked | {"seed": 3163825000})
    return Generation(
        pk=EXAMPLE_ID, file_prefix=PREFIX, params=params.as_json(), init_image_url=init_image_url, model="starter"
    )


def success(base_url: str) -> dict[str, Any]:
    made = generation(base_url)
    made.model_revision, made.vae = "local", "PatchAutoencoder"
    made.charged_credits = pricing.credits(made.parameters)
    return {
        "status": "success",
        "generationTime": 1.8462,
        "id": EXAMPLE_ID,
        "output": replies.links(made, base_url),
        "nsfw_content_detected": [False],
        "credits_charged": made.charged_credits,
        "credits_remaining": 959,
        "meta": replies.meta(made),
    }


def processing(base_url: str) -> dict[str, Any]:
    return replies.processing(generation(base_url), base_url, replies.JUST_QUEUED, eta_seconds=12.4836)


def failed() -> dict[str, Any]:
    return replies.failed(Generation(pk=EXAMPLE_ID, message=TRY_AGAIN))


def event(base_url: str) -> dict[str, Any]:
    """Return what an endpoint is told, which the list of events tells too."""
    return {
        "id": "msg_0b6c3f0e4b1d4c7e9a52d1c08c5f7a11",
        "type": "success",
        "timestamp": "2026-11-24T10:00:00.000000+00:00",
        "data": success(base_url) | {"track_id": "order-7"},
    }
