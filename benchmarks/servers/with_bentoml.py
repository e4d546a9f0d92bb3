"""Plain diffusers behind BentoML: bentoml serve benchmarks.servers.with_bentoml:Images.

Source: docs.bentoml.com, the Stable Diffusion example and adaptive batching.
"""

import base64
from typing import Any

import bentoml
from PIL.Image import Image

from benchmarks.pipeline import Pipeline, png

PATIENCE_SECONDS = 600


@bentoml.service(workers=1, traffic={"timeout": PATIENCE_SECONDS})
class Images:
    """The pipeline, and two ways to call it."""

    def __init__(self) -> None:
        self.pipeline = Pipeline()

    @bentoml.api
    def image(self, request: dict[str, Any]) -> Image:
        return self.pipeline.image(request)

    @bentoml.api(batchable=True, max_batch_size=16, max_latency_ms=1000 * PATIENCE_SECONDS)
    def images(self, requests: list[dict[str, Any]]) -> list[str]:
        """Return images as base64; BentoML batches lists, and the callers send lists of one."""
        return [base64.b64encode(png(image)).decode() for image in self.pipeline.images(requests)]
