"""generation.heart: beats beside the work."""

import threading
from itertools import count

import pytest

from generation.heart import Heart


def test_it_beats_while_the_block_runs_and_not_after() -> None:
    beats, third = count(), threading.Event()

    def beat() -> None:
        if next(beats) == 2:
            third.set()

    with Heart(beat, 0.01):
        assert third.wait(10)
    after = next(beats)
    threading.Event().wait(0.05)

    assert next(beats) == after + 1


def test_it_does_not_beat_before_the_first_interval() -> None:
    beats: list[int] = []

    with Heart(lambda: beats.append(1), 60):
        pass

    assert beats == []


def test_a_beat_that_fails_is_followed_by_the_next(caplog: pytest.LogCaptureFixture) -> None:
    again = threading.Event()
    beats = count()

    def beat() -> None:
        if next(beats) == 0:
            raise RuntimeError("the database is away")
        again.set()

    with Heart(beat, 0.01):
        assert again.wait(10)

    assert "A heartbeat failed." in caplog.text


def test_it_stops_when_the_work_fails() -> None:
    heart = Heart(lambda: None, 0.01)

    with pytest.raises(ZeroDivisionError), heart:
        raise ZeroDivisionError

    assert not heart.thread.is_alive()
