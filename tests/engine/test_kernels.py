"""What a step costs when the number of images that share it changes, beside what it costs when it doesn't."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
MEASURE = """
import time
import torch
torch.set_num_threads(1)
from generation.engine import Engine, EngineSettings, ImageRequest

engine = Engine.load(EngineSettings(model="generation/starter", safety="none"))
request = {"prompt": "a cat", "width": 256, "height": 256, "num_inference_steps": 51}
batches = [engine.prepare(ImageRequest(samples=images, **request)) for images in range(16, 0, -1)]

def cpu_seconds(repeated):
    seconds = 0.0
    for samples in batches:
        if repeated:
            engine.step(samples)
        begun = time.process_time()
        engine.step(samples)
        seconds += time.process_time() - begun
    return seconds

cpu_seconds(False)
print(min(cpu_seconds(False) for _ in range(2)) / min(cpu_seconds(True) for _ in range(2)))
"""


def test_a_batch_of_another_size_needs_no_new_kernels_for_a_size_that_was_there_before():
    """In a process of its own: oneDNN reads its settings once."""
    told = subprocess.run([sys.executable, "-c", MEASURE], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert float(told.stdout) < 1.2  # with oneDNN's own limit it is about 1.4 in bfloat16
