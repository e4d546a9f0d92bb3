"""A pretend Stripe, and the real SDK that talks to it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import stripe

from tests.stripe_server import PretendStripe, pretend_stripe

PACK = {"currency": "usd", "unit_amount": 900, "product_data": {"name": "1,000 credits"}}


@pytest.fixture
def server() -> Iterator[PretendStripe]:
    with pretend_stripe() as server:
        yield server


@pytest.fixture
def client(server: PretendStripe) -> Any:
    return stripe.StripeClient("sk_test_pretend", base_addresses={"api": server.url}, max_network_retries=0).v1


@pytest.fixture
def checkout(client: Any) -> Callable[..., Any]:
    """Return a function that opens a checkout for one pack."""

    def open_(**options: Any) -> Any:
        pack = {"quantity": 1, "price_data": PACK}
        body = {"mode": "payment", "line_items": [pack], "success_url": "https://shop.example/done"}
        return client.checkout.sessions.create(body | options)

    return open_


@pytest.fixture
def plans(client: Any) -> tuple[str, str]:
    """Two monthly prices of one product: 10 and 30 dollars."""
    product = client.products.create({"name": "Studio"}).id
    month = {"product": product, "currency": "usd", "recurring": {"interval": "month"}}
    small, large = (client.prices.create(month | {"unit_amount": cents}).id for cents in (1000, 3000))
    return small, large


@pytest.fixture
def subscription(client: Any, server: PretendStripe, checkout: Callable[..., Any], plans: tuple[str, str]) -> str:
    """A subscription to the smaller plan, paid with a good card."""
    session = checkout(mode="subscription", line_items=[{"price": plans[0], "quantity": 1}])
    return str(server.world.pay(session.id)["subscription"])
