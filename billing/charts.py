"""Bar charts as numbers that a template writes into an SVG: nothing is drawn by a script."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

WIDTH, HEIGHT = 720, 180  # units of the view box
LEFT, BOTTOM, TOP = 44, 22, 8  # margins: numbers, dates, air


@dataclass(frozen=True)
class Bar:
    """One day's bar."""

    x: float
    y: float
    width: float
    height: float
    day: date
    value: int
    is_labelled: bool

    @property
    def middle(self) -> float:
        return round(self.x + self.width / 2, 1)


@dataclass(frozen=True)
class Line:
    """A line across, with its number."""

    y: float
    value: int


@dataclass(frozen=True)
class Chart:
    """Bars above a base line, and lines to read them by."""

    bars: list[Bar]
    lines: list[Line]
    total: int
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    base: int = HEIGHT - BOTTOM


def bars(values: Sequence[tuple[date, int]]) -> Chart:
    """Return the chart of a value a day."""
    top = step_above(max((value for _, value in values), default=0))
    room = HEIGHT - BOTTOM - TOP
    slot = (WIDTH - LEFT) / max(1, len(values))
    drawn = [
        Bar(
            x=round(LEFT + k * slot + slot * 0.15, 1),
            y=round(HEIGHT - BOTTOM - room * value / top, 1),
            width=round(slot * 0.7, 1),
            height=round(room * value / top, 1),
            day=day,
            value=value,
            is_labelled=k % 7 == 0,
        )
        for k, (day, value) in enumerate(values)
    ]
    lines = [Line(round(HEIGHT - BOTTOM - room * share / 2, 1), top * share // 2) for share in (0, 1, 2)]
    return Chart(drawn, lines, sum(value for _, value in values))


def step_above(value: int) -> int:
    """Return a round even number that is not below the value: 2, 4, 6, 8, 10, 20, 40, 100, 200, …"""
    if value <= 10:
        return max(2, value + value % 2)
    power = 10 ** (len(str(value)) - 1)
    return next(power * step for step in (1, 2, 4, 6, 8, 10) if power * step >= value)
