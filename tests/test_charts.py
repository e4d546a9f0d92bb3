"""config.charts: numbers as places in a drawing."""

from datetime import date

import pytest

from config.charts import Box, bars, ceiling, count, dated, lines

ROOM = Box(left=44, top=8, right=720, bottom=158)
DAYS = ["1 Nov", "2 Nov", "3 Nov"]


@pytest.mark.parametrize(
    ("value", "top"),
    [(0, 2), (1, 2), (3, 4), (5, 6), (9, 10), (11, 20), (21, 40), (99, 100), (101, 200), (7_001, 8_000)],
)
def test_the_axis_of_whole_things_ends_at_a_round_even_number_above_the_highest(value: int, top: int) -> None:
    [highest, middle, lowest] = bars("a", "A", DAYS[:1], {"": [value]}).rules

    assert [highest.label, middle.label, lowest.label] == [count(top), count(top / 2), "0"]


@pytest.mark.parametrize(("value", "top"), [(0, 1), (0.03, 0.04), (0.3, 0.4), (1, 1), (1.2, 2), (17.5, 20)])
def test_the_axis_of_seconds_may_end_below_one(value: float, top: float) -> None:
    assert ceiling(value) == pytest.approx(top)


def test_bars_stand_on_the_foot_of_their_box_and_are_as_high_as_their_values() -> None:
    chart = bars("spent", "Spent", DAYS, {"": [0, 10, 5]}, ROOM)

    [none, ten, five] = [column.marks for column in chart.columns]
    assert none == []
    assert ten[0].height == 2 * five[0].height == 150
    assert [ten[0].y + ten[0].height, five[0].y + five[0].height] == [158, 158]
    assert [rule.y for rule in chart.rules] == [8, 83, 158]
    assert (chart.total, chart.highest) == ("15", "10")
    assert [column.title for column in chart.columns] == ["1 Nov: 0", "2 Nov: 10", "3 Nov: 5"]
    assert all(ROOM.left <= column.x and column.x + column.width <= ROOM.right + 1e-9 for column in chart.columns)


def test_series_stand_on_each_other() -> None:
    chart = bars("ends", "Ends", DAYS[:1], {"failed": [3], "canceled": [1]})

    [failed, canceled] = chart.columns[0].marks
    assert (failed.height, canceled.height) == (75, 25)
    assert canceled.y + canceled.height == failed.y
    assert chart.columns[0].title == "1 Nov: failed 3, canceled 1"


def test_a_bar_may_be_as_high_as_there_is_room() -> None:
    chart = bars("images", "Images", DAYS, {"": [0, 7, 3]}, top=7)

    assert chart.columns[1].marks[0].height == 100


def test_nothing_is_a_foot_without_bars() -> None:
    assert bars("a", "A", [], {"": []}).columns == []
    assert [column.marks for column in bars("a", "A", DAYS, {"": [0, 0, 0]}, top=0).columns] == [[], [], []]


def test_a_line_breaks_where_there_is_nothing_and_a_lonely_value_is_a_point() -> None:
    chart = lines("latency", "Latency", DAYS, {"p50": [2, None, 1]}, count, "p50 1")

    assert [line.path for line in chart.lines] == ["M16.67 0.00h0M83.33 50.00h0"]
    assert [column.texts for column in chart.columns] == [["p50 2"], ["p50 –"], ["p50 1"]]


def test_days_are_labels() -> None:
    assert dated([date(2026, 11, 1), date(2026, 12, 24)]) == ["1 Nov", "24 Dec"]
