"""Where the marks of a chart go. Templates draw them as SVG, 100 × 100 stretched to its box, and as a table."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

SIDE = 100.0
GAP = 0.25  # of a bar's room stays free


@dataclass(frozen=True)
class Mark:
    """A rectangle: a part of a bar."""

    x: float
    y: float
    width: float
    height: float
    series: int  # from 1


@dataclass(frozen=True)
class Column:
    """Everything at one place of the horizontal axis."""

    label: str
    texts: list[str]  # the values, in words, in the order of the series
    x: float
    width: float
    marks: list[Mark] = field(default_factory=list)

    @property
    def title(self) -> str:
        return f"{self.label}: {', '.join(self.texts)}"


@dataclass(frozen=True)
class Line:
    """A line through the values of one series; it breaks where there are none."""

    series: int
    path: str  # SVG's `d`


@dataclass(frozen=True)
class Chart:
    """One chart: bars or lines over columns."""

    name: str
    title: str
    series: list[str]
    columns: list[Column]
    scale: list[str]  # labels of the vertical axis: top, middle, bottom
    lines: list[Line] = field(default_factory=list)
    total: str = ""  # the one number that sums it up, in words

    @property
    def edges(self) -> list[str]:
        """Return the labels that are written below: the first, the middle and the last."""
        labels = [column.label for column in self.columns]
        return [labels[0], labels[len(labels) // 2], labels[-1]] if len(labels) > 2 else labels


Words = Callable[[float], str]


def ceiling(value: float) -> float:
    """Return the round number at or above `value` where an axis may end; at least 1 for whole numbers of things."""
    if value <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(factor * unit for factor in (1, 2, 4, 5, 10) if factor * unit >= value - 1e-9)


def stacked(
    name: str, title: str, labels: Sequence[str], series: dict[str, Sequence[float]], words: Words, total: str = ""
) -> Chart:
    """Return bars in which the series stand on each other."""
    heights = [sum(values) for values in zip(*series.values(), strict=True)]
    top = ceiling(max(heights, default=0))
    columns = empty_columns(labels, series, words)
    for k, column in enumerate(columns):
        y = SIDE
        for number, values in enumerate(series.values(), start=1):
            height = SIDE * values[k] / top
            y -= height
            if height:
                gap = column.width * GAP / 2
                column.marks.append(Mark(column.x + gap, y, column.width - 2 * gap, height, number))
    return Chart(name, title, list(series), columns, scale(top, words), total=total)


def lines(
    name: str,
    title: str,
    labels: Sequence[str],
    series: dict[str, Sequence[float | None]],
    words: Words,
    total: str = "",
) -> Chart:
    """Return a line for each series; None is a gap."""
    top = ceiling(max((value for values in series.values() for value in values if value is not None), default=0))
    columns = empty_columns(labels, series, words)
    drawn = []
    for number, values in enumerate(series.values(), start=1):
        path, pen_is_down = "", False
        for column, value in zip(columns, values, strict=True):
            if value is not None:
                x, y = column.x + column.width / 2, SIDE * (1 - value / top)
                # A value between two gaps is a point: a line of no length with round ends.
                path += f"{'L' if pen_is_down else 'M'}{x:.2f} {y:.2f}" + ("" if pen_is_down else "h0")
            pen_is_down = value is not None
        if path:
            drawn.append(Line(number, path))
    return Chart(name, title, list(series), columns, scale(top, words), drawn, total)


def empty_columns(
    labels: Sequence[str], series: dict[str, Sequence[float]] | dict[str, Sequence[float | None]], words: Words
) -> list[Column]:
    width = SIDE / max(1, len(labels))
    return [
        Column(label, [f"{name} {told(values[k], words)}" for name, values in series.items()], k * width, width)
        for k, label in enumerate(labels)
    ]


def told(value: float | None, words: Words) -> str:
    return "–" if value is None else words(value)


def scale(top: float, words: Words) -> list[str]:
    return [words(top), words(top / 2), words(0)]
