"""What the threads of a worker's arithmetic take from everybody else while they have nothing to do."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
MEASURE = """
import statistics
import time
import generation.engine
import torch

torch.set_num_threads(2)
tensor = torch.ones(2_000_000)

def idle_cpu_seconds():
    tensor.relu()
    begun = time.process_time()
    time.sleep(0.05)
    return time.process_time() - begun

print(statistics.median(idle_cpu_seconds() for _ in range(20)))
"""


def test_a_thread_without_work_soon_leaves_its_core_to_others() -> None:
    # In a process of its own: OpenMP reads its settings once.
    told = subprocess.run([sys.executable, "-c", MEASURE], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert float(told.stdout) < 0.002  # it spins for about 0.0004 s, and by default for 0.005
