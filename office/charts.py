"""Bars for the admin's first page, as numbers that a template writes into an SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

WIDTH, HEIGHT, BASE = 420, 120, 100  # units of the view box; days are written below the base


@dataclass(frozen=True)
class Bar:
    """One day."""

    day: date
    value: int
    x: float
    y: float
    width: float
    height: float
    middle: float
    is_labelled: bool


@dataclass(frozen=True)
class Chart:
    """A value a day."""

    title: str
    bars: list[Bar]
    total: int
    most: int


def bars(title: str, values: Sequence[tuple[date, int]]) -> Chart:
    """Return the chart of a value a day, the highest bar as high as there is room."""
    most = max((value for _, value in values), default=0)
    slot = WIDTH / max(1, len(values))
    drawn = []
    for k, (day, value) in enumerate(values):
        height = round((BASE - 4) * value / most, 1) if most else 0.0
        drawn.append(
            Bar(
                day=day,
                value=value,
                x=round(k * slot + slot * 0.15, 1),
                y=round(BASE - height, 1),
                width=round(slot * 0.7, 1),
                height=height,
                middle=round((k + 0.5) * slot, 1),
                is_labelled=(len(values) - 1 - k) % 4 == 0,
            )
        )
    return Chart(title, drawn, sum(value for _, value in values), most)
