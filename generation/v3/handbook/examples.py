"""Requests and answers to show; tests run each request, and hold each answer against a real one."""

from typing import Any

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


def meta(base_url: str) -> dict[str, Any]:
    return {
        "H": 512,
        "W": 512,
        "enable_attention_slicing": "true",
        "file_prefix": PREFIX,
        "guidance_scale": 7.5,
        "init_image": f"{base_url}/static/samples/cat.jpg",
        "model": "starter",
        "n_samples": 1,
        "negative_prompt": "",
        "outdir": "out",
        "prompt": "a cat sitting on a bench",
        "revision": "",
        "safetychecker": "yes",
        "safety_checker": "yes",
        "seed": 3163825000,
        "seeds": [3163825000],
        "steps": 31,
        "strength": 0.7,
        "vae": "starter",
        "credits_charged": 1,
    }


def success(base_url: str) -> dict[str, Any]:
    return {
        "status": "success",
        "generationTime": 1.8462,
        "id": EXAMPLE_ID,
        "output": [f"{base_url}/media/generations/{PREFIX}-0.png"],
        "nsfw_content_detected": [False],
        "credits_charged": 1,
        "credits_remaining": 959,
        "meta": meta(base_url),
    }


def processing(base_url: str) -> dict[str, Any]:
    return {
        "status": "processing",
        "tip": "Your image is processing in background, you can get this image using fetch API",
        "eta": 12.4836,
        "messege": "Try to fetch request after seconds estimated",
        "message": "Try to fetch request after seconds estimated",
        "fetch_result": f"{base_url}/api/v3/fetch/{EXAMPLE_ID}",
        "id": EXAMPLE_ID,
        "output": [],
        "future_links": [f"{base_url}/media/generations/{PREFIX}-0.png"],
        "meta": meta(base_url) | {"credits_charged": 0},
    }


def failed() -> dict[str, Any]:
    return {"status": "failed", "id": EXAMPLE_ID, "message": "Failed, Try Again", "output": []}


def event(base_url: str) -> dict[str, Any]:
    """Return what an endpoint is told, which the list of events tells too."""
    return {
        "id": "msg_0b6c3f0e4b1d4c7e9a52d1c08c5f7a11",
        "type": "success",
        "timestamp": "2026-11-24T10:00:00.000000+00:00",
        "data": success(base_url) | {"track_id": "order-7"},
    }
