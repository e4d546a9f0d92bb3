"""billing.charts and billing.money: numbers as people see them."""

from datetime import date, timedelta

import pytest

from billing import charts
from billing.money import shown


@pytest.mark.parametrize(
    ("value", "top"), [(0, 2), (1, 2), (3, 4), (9, 10), (11, 20), (21, 40), (99, 100), (101, 200), (7_001, 8_000)]
)
def test_the_scale_ends_at_a_round_even_number_above_the_highest_value(value: int, top: int) -> None:
    assert charts.step_above(value) == top


def test_bars_stand_on_the_base_line_and_are_as_high_as_their_values() -> None:
    days = [(date(2026, 11, 1) + timedelta(days=k), value) for k, value in enumerate([0, 10, 5])]

    chart = charts.bars(days)

    assert [round(bar.y + bar.height) for bar in chart.bars] == [chart.base] * 3
    assert chart.bars[1].height == 2 * chart.bars[2].height == chart.base - charts.TOP
    assert chart.bars[0].height == 0
    assert [line.value for line in chart.lines] == [0, 5, 10]
    assert chart.total == 15


def test_a_chart_of_nothing_is_a_base_line() -> None:
    assert charts.bars([]).bars == []


@pytest.mark.parametrize(
    ("cents", "currency", "text"),
    [
        (990, "usd", "$9.90"),
        (100_000, "eur", "€1,000.00"),
        (5, "gbp", "£0.05"),
        (1000, "jpy", "1,000 JPY"),
        (1050, "chf", "10.50 CHF"),
    ],
)
def test_money_is_shown_in_its_currency_s_own_units(cents: int, currency: str, text: str) -> None:
    assert shown(cents, currency) == text
