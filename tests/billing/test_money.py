"""billing.money: amounts as people see them."""

import pytest

from billing.money import shown


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
