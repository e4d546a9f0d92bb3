"""Memory that was freed goes back to the system."""

import platform

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
