"""The model of the benchmarks."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STARTER = Path(__file__).parents[1] / "generation" / "starter"
ALIKE = ("width", "height", "strength", "num_inference_steps", "guidance_scale")  # of what diffusers makes together


@contextmanager
def guided_throughout() -> Iterator[Path]:
    """Lend the built-in model in a folder that asks for guidance in every step.

    Its own asks for less, which the engine obeys and plain diffusers does not: they would not do the same work.
    """
    index = json.loads((STARTER / "model_index.json").read_text())
    del index["cutoff_step_ratio"]
    with tempfile.TemporaryDirectory(prefix="atelier-benchmark-") as folder:
        model = Path(folder) / STARTER.name
        model.mkdir()
        for part in STARTER.iterdir():
            if part.is_dir():
                (model / part.name).symlink_to(part)
        (model / "model_index.json").write_text(json.dumps(index))
        yield model
