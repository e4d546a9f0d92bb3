"""Where the marks of a chart go, as numbers that templates write into an SVG: nothing is drawn by a script."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date

GAP = 0.3  # of a column stays free beside its bar

Words = Callable[[float], str]
Series = dict[str, Sequence[float]]
BrokenSeries = dict[str, Sequence[float | None]]


@dataclass(frozen=True)
class Box:
    """The part of a drawing that marks may fill, in units of its view box; around it stand labels."""

    left: float = 0
    top: float = 0
    right: float = 100
    bottom: float = 100

    def y(self, share: float) -> float:
        """Return where a share of the axis, 0 at its foot and 1 at its top, is reached."""
        return self.bottom - share * (self.bottom - self.top)


WHOLE = Box()  # of a drawing that is stretched, 100 × 100; labels stand outside


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

    @property
    def bar_x(self) -> float:
        return self.x + self.width * GAP / 2

    @property
    def bar_width(self) -> float:
        return self.width * (1 - GAP)

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


@dataclass(frozen=True)
class Line:
    """A line through the values of one series; it breaks where there are none."""

    series: int
    path: str  # SVG's `d`


@dataclass(frozen=True)
class Rule:
    """A line across, with its number, to read the others by."""

    y: float
    label: str


@dataclass(frozen=True)
class Chart:
    """One chart: bars or lines over columns."""

    name: str  # for ids
    title: str
    series: list[str]  # names; an empty one where there is nothing to tell apart
    columns: list[Column]
    rules: list[Rule]  # top, middle, bottom
    total: str  # the one number that sums it up, in words
    highest: str  # the highest bar or point, in words
    box: Box
    lines: list[Line] = field(default_factory=list)

    @property
    def edges(self) -> list[str]:
        """Return the labels that are written below: the first, the middle and the last."""
        labels = [column.label for column in self.columns]
        return [labels[0], labels[len(labels) // 2], labels[-1]] if len(labels) > 2 else labels


def bars(
    name: str, title: str, labels: Sequence[str], series: Series, box: Box = WHOLE, top: float | None = None
) -> Chart:
    """Return bars of whole things, in which the series stand on each other.

    `top` is the value that reaches the top; by default a round one that no bar exceeds.
    """
    sums = [sum(values) for values in zip(*series.values(), strict=True)]
    highest = max(sums, default=0)
    top = top or ceiling(highest, least=2)
    columns = empty_columns(labels, series, count, box)
    for k, column in enumerate(columns):
        y = box.bottom
        for number, values in enumerate(series.values(), start=1):
            height = box.bottom - box.y(values[k] / top)
            y -= height
            if height:
                column.marks.append(Mark(column.bar_x, y, column.bar_width, height, number))
    total = count(sum(sums))
    return Chart(name, title, list(series), columns, rules(top, count, box), total, count(highest), box)


def lines(name: str, title: str, labels: Sequence[str], series: BrokenSeries, words: Words, total: str) -> Chart:
    """Return a line for each series; None is a gap."""
    highest = max((value for values in series.values() for value in values if value is not None), default=0)
    top = ceiling(highest)
    columns = empty_columns(labels, series, words, WHOLE)
    drawn = []
    for number, values in enumerate(series.values(), start=1):
        path, pen_is_down = "", False
        for column, value in zip(columns, values, strict=True):
            if value is not None:
                # A value between two gaps is a point: a line of no length with round ends.
                begun = "L" if pen_is_down else "M"
                path += f"{begun}{column.middle:.2f} {WHOLE.y(value / top):.2f}" + ("" if pen_is_down else "h0")
            pen_is_down = value is not None
        if path:
            drawn.append(Line(number, path))
    return Chart(name, title, list(series), columns, rules(top, words, WHOLE), total, words(highest), WHOLE, drawn)


def ceiling(value: float, least: float = 0) -> float:
    """Return the round number at or above `value` where an axis may end: half of it is a whole number from 2 on."""
    value = max(value, least)
    if value <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(factor * unit for factor in (1, 2, 4, 6, 8, 10) if factor * unit >= value - 1e-9)


def empty_columns(labels: Sequence[str], series: Series | BrokenSeries, words: Words, box: Box) -> list[Column]:
    width = (box.right - box.left) / max(1, len(labels))
    return [
        Column(
            label,
            [f"{name} {told(values[k], words)}".lstrip() for name, values in series.items()],
            box.left + k * width,
            width,
        )
        for k, label in enumerate(labels)
    ]


def rules(top: float, words: Words, box: Box) -> list[Rule]:
    return [Rule(box.y(share), words(top * share)) for share in (1, 0.5, 0)]


def told(value: float | None, words: Words) -> str:
    return "–" if value is None else words(value)


def count(value: float) -> str:
    """Return a number of things in words."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def dated(days: Iterable[date]) -> list[str]:
    """Return days as labels: "6 Nov"."""
    return [f"{day.day} {day:%b}" for day in days]
