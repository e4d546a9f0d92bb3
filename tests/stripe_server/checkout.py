"""Checkout Sessions as the shop makes and reads them; completion.py is what customers do with them."""

from tests.stripe_server import payments, prices
from tests.stripe_server.account import Account, Object
from tests.stripe_server.errors import Refused
from tests.stripe_server.lists import PAGING, included, matching, page
from tests.stripe_server.params import Params
from tests.stripe_server.routes import route

HOUR = 60 * 60
MODES = ("payment", "subscription", "setup")
KNOWN = (
    "adaptive_pricing",
    "after_expiration",
    "allow_promotion_codes",
    "automatic_tax",
    "billing_address_collection",
    "cancel_url",
    "client_reference_id",
    "consent_collection",
    "currency",
    "custom_text",
    "customer",
    "customer_creation",
    "customer_email",
    "customer_update",
    "discounts",
    "expires_at",
    "invoice_creation",
    "line_items",
    "locale",
    "metadata",
    "mode",
    "payment_intent_data",
    "payment_method_collection",
    "payment_method_options",
    "allowed_payment_method_types",
    "phone_number_collection",
    "saved_payment_method_options",
    "setup_intent_data",
    "submit_type",
    "subscription_data",
    "success_url",
    "tax_id_collection",
    "ui_mode",
)


@route("POST", "/v1/checkout/sessions", *KNOWN)
def create(account: Account, params: Params) -> Object:
    mode = params.one_of("mode", MODES)
    params.need("success_url")
    if params.get("customer") and params.get("customer_email"):
        raise Refused("You may only specify one of these parameters: customer, customer_email.", param="customer")
    customer = account.get("customer", params["customer"], "customer") if params.get("customer") else None
    if len(params.text("client_reference_id") or "") > 200:
        raise Refused("Invalid string: must be at most 200 characters", param="client_reference_id")
    taxed = params.map("automatic_tax").switch("enabled")
    if taxed and customer and not customer["address"] and "address" not in params.map("customer_update"):
        raise Refused(
            "Automatic tax calculation in Checkout requires a valid address on the Customer. "
            "Add a valid address to the Customer or set `customer_update[address]` to 'auto'.",
            code="customer_tax_location_invalid",
        )
    if params.get("discounts") and params.get("allow_promotion_codes"):
        raise Refused("You may only specify one of these parameters: allow_promotion_codes, discounts.")
    expires_at = expiry(account, params)
    rows = [line(account, item, mode) for item in params.maps("line_items")] if mode != "setup" else []
    if mode != "setup" and not rows:
        raise Refused("Missing required param: line_items.", code="parameter_missing", param="line_items")
    subtotal = sum(row["amount_subtotal"] for row in rows)
    if mode == "payment" and subtotal < payments.SMALLEST_CENTS:
        raise Refused(
            "The Checkout Session's total amount due must add up to at least $0.50 usd", code="amount_too_small"
        )
    session = account.new(
        "checkout.session",
        **options(params, mode),
        amount_subtotal=subtotal if rows else None,
        amount_total=subtotal if rows else None,
        automatic_tax={
            "enabled": taxed,
            "liability": {"type": "self"} if taxed else None,
            "provider": "stripe" if taxed else None,
            "status": "requires_location_inputs" if taxed else None,
        },
        currency=rows[0]["currency"] if rows else params.text("currency"),
        customer=customer and customer["id"],
        customer_details={"email": email, **details()} if (email := customer_email(params, customer)) else None,
        expires_at=expires_at,
        metadata=params.metadata(),
        total_details={"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0} if rows else None,
        _data=params.map(
            f"{'payment_intent' if mode == 'payment' else mode if mode != 'setup' else 'setup_intent'}_data"
        ),
        _discounts=params.maps("discounts"),
        _invoice=params.map("invoice_creation").switch("enabled"),
    )
    session["url"] = f"{account.url}/pay/{session['id']}"
    for row in rows:
        account.objects[row["id"]] = row | {"_session": session["id"]}
    return session


def expiry(account: Account, params: Params) -> int:
    now = account.now()
    expires_at = params.integer("expires_at") or now + 24 * HOUR
    if expires_at < now + HOUR // 2 - 5:
        raise Refused(
            "The `expires_at` timestamp must be at least 30 minutes from Checkout Session creation.", param="expires_at"
        )
    if expires_at > now + 24 * HOUR + 5:
        raise Refused(
            "The `expires_at` timestamp must be less than 24 hours from Checkout Session creation.", param="expires_at"
        )
    return expires_at


def options(params: Params, mode: str) -> Object:
    """Return the fields that are as they were sent, or as they are when nothing is said."""
    creation = params.text("customer_creation", "if_required") if mode == "payment" else "always"
    return {
        "adaptive_pricing": {"enabled": False},
        "after_expiration": None,
        "allow_promotion_codes": params.switch("allow_promotion_codes") or None,
        "billing_address_collection": params.text("billing_address_collection"),
        "cancel_url": params.text("cancel_url"),
        "client_reference_id": params.text("client_reference_id"),
        "client_secret": None,
        "collected_information": None,
        "consent": None,
        "consent_collection": None,
        "currency_conversion": None,
        "custom_fields": [],
        "custom_text": dict.fromkeys(
            ("after_submit", "shipping_address", "submit", "terms_of_service_acceptance"), None
        ),
        "customer_account": None,
        "customer_creation": None if params.get("customer") else creation,
        "customer_email": params.text("customer_email"),
        "discounts": [],
        "integration_identifier": None,
        "invoice": None,
        "invoice_creation": {
            "enabled": params.map("invoice_creation").switch("enabled"),
            "invoice_data": invoice_data(),
        }
        if mode == "payment"
        else None,
        "locale": params.text("locale"),
        "mode": mode,
        "origin_context": None,
        "payment_intent": None,
        "payment_link": None,
        "payment_method_collection": "always" if mode == "subscription" else "if_required",
        "payment_method_configuration_details": None,
        "payment_method_options": {},
        "payment_method_types": params.get("allowed_payment_method_types") or ["card", "us_bank_account"],
        "payment_status": "no_payment_required" if mode == "setup" else "unpaid",
        "permissions": None,
        "phone_number_collection": {"enabled": False},
        "recovered_from": None,
        "saved_payment_method_options": {
            "allow_redisplay_filters": ["always"],
            "payment_method_remove": "disabled",
            "payment_method_save": None,
        },
        "setup_intent": None,
        "shipping_address_collection": None,
        "shipping_cost": None,
        "shipping_options": [],
        "status": "open",
        "submit_type": params.text("submit_type"),
        "subscription": None,
        "success_url": params.text("success_url"),
        "ui_mode": "hosted_page",
        "wallet_options": None,
    }


def invoice_data() -> Object:
    return {
        "account_tax_ids": None,
        "custom_fields": None,
        "description": None,
        "footer": None,
        "issuer": None,
        "metadata": {},
        "rendering_options": None,
    }


def customer_email(params: Params, customer: Object | None) -> str | None:
    return customer["email"] if customer else params.text("customer_email")


def details() -> Object:
    absent = ("address", "business_name", "individual_name", "name", "phone", "tax_ids")
    return dict.fromkeys(absent) | {"tax_exempt": "none"}


def line(account: Account, params: Params, mode: str) -> Object:
    """Return one line of a session that is being made."""
    params.only(("price", "price_data", "quantity", "adjustable_quantity", "tax_rates", "metadata"))
    if params.get("price_data"):
        data = params.map("price_data")
        data.only(prices.PRICE_DATA)
        price = prices.create_price(account, data, inline=True)
    else:
        price = account.get("price", params.need("price"), "line_items[0][price]")
        if not price["active"]:
            raise Refused("The price specified is inactive. This field only accepts active prices.", param="line_items")
    if mode == "subscription" and price["type"] != "recurring":
        raise Refused("You must provide at least one recurring price in `subscription` mode.", param="line_items")
    if mode == "payment" and price["type"] == "recurring":
        raise Refused("You specified `payment` mode but passed a recurring price.", param="mode")
    quantity = params.integer("quantity")
    if not quantity:
        raise Refused("Quantity is required. Add `quantity` to `line_items[0]`", param="line_items[0][quantity]")
    amount = price["unit_amount"] * quantity
    row = account.new(
        "item",
        adjustable_quantity=None,
        amount_discount=0,
        amount_subtotal=amount,
        amount_tax=0,
        amount_total=amount,
        currency=price["currency"],
        description=account.objects[price["product"]]["name"],
        metadata={},
        price=price,
        quantity=quantity,
    )
    del row["created"], row["livemode"]
    return row


def lines_of(account: Account, session: Object) -> list[Object]:
    return included(account, session, "line_items", "")["data"]


@route("GET", "/v1/checkout/sessions", *("created", "customer", "payment_intent", "status", "subscription"), *PAGING)
def list_(account: Account, params: Params) -> Object:
    fields = ("customer", "payment_intent", "status", "subscription")
    return page(matching(account.all("checkout.session"), params, *fields), params, "/v1/checkout/sessions")


@route("GET", "/v1/checkout/sessions/{id}")
def retrieve(account: Account, params: Params, id: str) -> Object:
    session = account.get("checkout.session", id)
    if session["status"] == "open" and session["expires_at"] <= account.now():
        expire(account, session)
    return session


@route("GET", "/v1/checkout/sessions/{id}/line_items", *PAGING)
def list_lines(account: Account, params: Params, id: str) -> Object:
    rows = lines_of(account, account.get("checkout.session", id))
    return page(reversed([{"created": 0} | row for row in rows]), params, f"/v1/checkout/sessions/{id}/line_items")


@route("POST", "/v1/checkout/sessions/{id}", "metadata")
def update(account: Account, params: Params, id: str) -> Object:
    session = account.get("checkout.session", id)
    session["metadata"] = params.metadata(session["metadata"])
    return session


@route("POST", "/v1/checkout/sessions/{id}/expire")
def expire_(account: Account, params: Params, id: str) -> Object:
    session = account.get("checkout.session", id)
    expire(account, session)
    return session


def expire(account: Account, session: Object) -> None:
    if session["status"] != "open":
        raise Refused(
            f'Only Checkout Sessions with a status in ["open"] can be expired; this one is {session["status"]}.'
        )
    session |= {"status": "expired", "url": None}
    account.emit("checkout.session.expired", session)
