"""config.heart: beats beside the work."""

import threading
from itertools import count

import pytest

from config.heart import Heart


def test_it_beats_while_the_block_runs_and_not_after() -> None:
    beats, third = count(), threading.Event()

    def beat() -> None:
        if next(beats) == 2:
            third.set()

    with Heart("a test") as heart:
        with heart.beating(beat, 0.01):
            assert third.wait(10)
        after = next(beats)
        threading.Event().wait(0.05)

    assert next(beats) == after + 1


def test_it_does_not_beat_before_the_first_interval() -> None:
    beats: list[int] = []

    with Heart("a test") as heart, heart.beating(lambda: beats.append(1), 60):
        threading.Event().wait(0.05)

    assert beats == []


def test_each_beats_at_its_own_interval() -> None:
    rare, often, enough = count(), count(), threading.Event()

    def beat() -> None:
        if next(often) == 20:
            enough.set()

    with Heart("a test") as heart, heart.beating(lambda: next(rare), 60), heart.beating(beat, 0.01):
        assert enough.wait(10)

    assert next(rare) == 0


def test_one_that_begins_while_the_heart_waits_long_is_not_late() -> None:
    beaten = threading.Event()

    with Heart("a test") as heart, heart.beating(lambda: None, 60):
        threading.Event().wait(0.05)
        with heart.beating(beaten.set, 0.01):
            assert beaten.wait(10)


def test_the_block_ends_when_the_beat_that_runs_is_over() -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def beat() -> None:
        begun.set()
        go_on.wait(10)
        ended.set()

    with Heart("a test") as heart:
        with heart.beating(beat, 0.01):
            assert begun.wait(10)
            threading.Timer(0.05, go_on.set).start()
        assert ended.is_set()


def test_a_beat_that_fails_is_followed_by_the_next_and_by_those_of_others(caplog: pytest.LogCaptureFixture) -> None:
    again, other = threading.Event(), threading.Event()
    beats = count()

    def beat() -> None:
        if next(beats) == 0:
            raise RuntimeError("the database is away")
        again.set()

    with Heart("a test") as heart, heart.beating(beat, 0.01), heart.beating(other.set, 0.02):
        assert again.wait(10)
        assert other.wait(10)

    assert "A heartbeat failed." in caplog.text


def test_it_stops_when_the_work_fails() -> None:
    heart = Heart("a test")

    with pytest.raises(ZeroDivisionError), heart, heart.beating(lambda: None, 0.01):
        raise ZeroDivisionError

    assert not heart.thread.is_alive()
