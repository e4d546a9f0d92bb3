"""Products and their Prices; also those that a checkout brings along as price_data."""

from typing import Any

from tests.stripe_server.account import Account, Object
from tests.stripe_server.errors import Refused
from tests.stripe_server.lists import PAGING, matching, page
from tests.stripe_server.params import Params
from tests.stripe_server.routes import route

PRICE_DATA = ("currency", "product", "product_data", "recurring", "tax_behavior", "unit_amount", "unit_amount_decimal")
PRODUCT_DATA = ("description", "images", "metadata", "name", "tax_code", "unit_label", "statement_descriptor")


@route("POST", "/v1/products", "id", "active", "default_price_data", *PRODUCT_DATA)
def create_product(account: Account, params: Params) -> Object:
    if params.get("id") in account.objects:
        raise Refused("Product already exists.", code="resource_already_exists", param="id")
    product = account.new(
        "product",
        id=params.text("id"),
        active=params.switch("active", True),
        default_price=None,
        description=params.text("description"),
        images=params.get("images") or [],
        marketing_features=[],
        metadata=params.metadata(),
        name=params.need("name"),
        package_dimensions=None,
        shippable=None,
        statement_descriptor=params.text("statement_descriptor"),
        tax_code=params.text("tax_code"),
        type="service",
        unit_label=params.text("unit_label"),
        updated=account.now(),
        url=None,
    )
    account.emit("product.created", product)
    if data := params.map("default_price_data"):
        product["default_price"] = create_price(account, Params(data, product=product["id"]))["id"]
    return product


@route("GET", "/v1/products", "active", "created", *PAGING)
def list_products(account: Account, params: Params) -> Object:
    wanted = account.all("product")
    if "active" in params:
        wanted = [product for product in wanted if product["active"] == params.switch("active")]
    return page(wanted, params, "/v1/products")


@route("GET", "/v1/products/{id}")
def retrieve_product(account: Account, params: Params, id: str) -> Object:
    return account.get("product", id)


@route("POST", "/v1/products/{id}", "active", "default_price", *PRODUCT_DATA)
def update_product(account: Account, params: Params, id: str) -> Object:
    product = account.get("product", id)
    fields: dict[str, Any] = {name: params.text(name) for name in ("description", "name") if name in params}
    if "active" in params:
        fields["active"] = params.switch("active")
    account.change(product, "product.updated", metadata=params.metadata(product["metadata"]), **fields)
    return product


@route(
    "POST",
    "/v1/prices",
    "active",
    "lookup_key",
    "metadata",
    "nickname",
    "transfer_lookup_key",
    "billing_scheme",
    *PRICE_DATA,
)
def create_price(account: Account, params: Params, inline: bool = False) -> Object:
    """Make a price; an `inline` one belongs to one checkout and can't be used again."""
    amount = params.integer("unit_amount")
    if amount is None:
        raise Refused("Missing required param: unit_amount.", code="parameter_missing", param="unit_amount")
    if amount < 0:
        raise Refused("Invalid non-negative integer", code="parameter_invalid_integer", param="unit_amount")
    currency = params.need("currency").lower()
    product = params.text("product") or create_product(account, need_product(params))["id"]
    account.get("product", product, "product")
    price = account.new(
        "price",
        active=params.switch("active", True) and not inline,
        billing_scheme="per_unit",
        currency=currency,
        custom_unit_amount=None,
        lookup_key=params.text("lookup_key"),
        metadata=params.metadata(),
        nickname=params.text("nickname"),
        product=product,
        recurring=recurring(params),
        tax_behavior=params.text("tax_behavior", "unspecified"),
        tiers_mode=None,
        transform_quantity=None,
        type="recurring" if params.get("recurring") else "one_time",
        unit_amount=amount,
        unit_amount_decimal=str(amount),
    )
    if not inline:
        account.emit("price.created", price)
    return price


def need_product(params: Params) -> Params:
    params.need("product_data")
    return params.map("product_data")


def recurring(params: Params) -> Object | None:
    period = params.map("recurring")
    if not period:
        return None
    return {
        "interval": period.one_of("interval", ("day", "week", "month", "year")),
        "interval_count": period.integer("interval_count", 1),
        "meter": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }


@route("GET", "/v1/prices", "active", "created", "currency", "lookup_keys", "product", "type", *PAGING)
def list_prices(account: Account, params: Params) -> Object:
    wanted = matching(account.all("price"), params, "currency", "product", "type")
    if "active" in params:
        wanted = [price for price in wanted if price["active"] == params.switch("active")]
    if keys := params.get("lookup_keys"):
        wanted = [price for price in wanted if price["lookup_key"] in keys]
    return page(wanted, params, "/v1/prices")


@route("GET", "/v1/prices/{id}")
def retrieve_price(account: Account, params: Params, id: str) -> Object:
    return account.get("price", id)


@route("POST", "/v1/prices/{id}", "active", "metadata", "nickname", "tax_behavior", "lookup_key")
def update_price(account: Account, params: Params, id: str) -> Object:
    price = account.get("price", id)
    fields: dict[str, Any] = {"active": params.switch("active")} if "active" in params else {}
    account.change(price, "price.updated", metadata=params.metadata(price["metadata"]), **fields)
    return price
