"""Memory that was freed goes back to the system."""

import platform
import subprocess
import sys

import psutil
import pytest

from generation.engine.memory import trim


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries give it back by themselves")
def test_what_lies_freed_between_what_is_in_use_is_given_back():
    blocks = [bytearray(b"x" * 60_000) for _ in range(2_000)]
    kept = blocks[::100]  # so that the C library can't give all of it back at its end
    del blocks
    before = psutil.Process().memory_info().rss

    trim()

    assert len(kept) == 20
    assert before - psutil.Process().memory_info().rss > 50 * 2**20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such heaps")
def test_many_threads_share_two_heaps():
    program = """
import ctypes, threading
from generation.engine.memory import share_heaps
share_heaps()
done = threading.Barrier(9)
def work():
    kept.append(ctypes.CDLL(None).malloc(100_000))
    done.wait()
kept = []
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
done.wait()
ctypes.CDLL(None).malloc_stats()
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stderr

    assert told.count("Arena ") <= 2
