"""Amounts of money as people read them."""

# Source: https://docs.stripe.com/currencies#zero-decimal: their smallest unit is the currency itself.
NO_DECIMALS = {
    *("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga"),
    *("pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf"),
}
SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£"}


def shown(cents: int, currency: str) -> str:
    """Return an amount of the currency's smallest unit as text: `$9.90`, `1,000 JPY`."""
    number = f"{cents:,}" if currency in NO_DECIMALS else f"{cents / 100:,.2f}"
    symbol = SYMBOLS.get(currency)
    return f"{symbol}{number}" if symbol else f"{number} {currency.upper()}"
