"""Plain diffusers behind cog's HTTP server, without the container: python -m cog.server.http.

Source: cog.run/docs, the prediction interface. PORT and COG_PREDICT_TYPE_STUB come from the environment.
"""

import base64
from tempfile import mkdtemp

from cog import BaseRunner, Path

from benchmarks.pipeline import Pipeline


class Runner(BaseRunner):
    """One image after another: cog refuses what comes meanwhile."""

    def setup(self) -> None:
        self.pipeline = Pipeline()

    def run(
        self,
        prompt: str,
        negative_prompt: str,
        init_image: Path,
        width: int,
        height: int,
        strength: float,
        num_inference_steps: int,
        guidance_scale: float,
        seed: int,
    ) -> Path:
        image = self.pipeline.image(
            {
                "prompt": prompt,
                "negative_prompt": negative_prompt,
                "init_image": base64.b64encode(init_image.read_bytes()).decode(),
                "width": width,
                "height": height,
                "strength": strength,
                "num_inference_steps": num_inference_steps,
                "guidance_scale": guidance_scale,
                "seed": seed,
            }
        )
        path = Path(mkdtemp()) / "image.png"
        image.save(path)
        return path
