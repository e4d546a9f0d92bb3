"""Plain diffusers behind LitServe: python -m benchmarks.servers.with_litserve --port 8000 [--together 16].

Source: lightning.ai/docs/litserve, LitAPI and batching.
"""

import argparse
import base64
from typing import Any

import litserve

from benchmarks.pipeline import Pipeline, png

WAIT_SECONDS = 0.05  # for a batch to become full


class Images(litserve.LitAPI):
    """One image after another."""

    def setup(self, device: str) -> None:
        self.pipeline = Pipeline()

    def predict(self, x: Any) -> Any:
        return self.pipeline.image(x)

    def encode_response(self, output: Any) -> dict[str, str]:
        return {"image": base64.b64encode(png(output)).decode()}


class ImagesTogether(Images):
    """A batch after another; diffusers makes those of a batch together that are alike."""

    def predict(self, x: Any) -> Any:
        return self.pipeline.images(x)


def main() -> None:
    """Serve until a signal ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--together", type=int, default=1)
    asked = parser.parse_args()
    api = ImagesTogether(asked.together, WAIT_SECONDS) if asked.together > 1 else Images()
    server = litserve.LitServer(api, devices=1, timeout=False)
    server.run(host="127.0.0.1", port=asked.port, generate_client_file=False)


if __name__ == "__main__":
    main()
