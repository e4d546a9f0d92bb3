"""Coupons, and the PromotionCodes by which customers ask for them."""

from tests.stripe_server.account import Account, Object, new_id
from tests.stripe_server.errors import Refused
from tests.stripe_server.lists import PAGING, matching, page
from tests.stripe_server.params import Params
from tests.stripe_server.routes import route


@route("POST", "/v1/coupons", "id", "amount_off", "currency", "duration", "metadata", "name", "percent_off")
def create(account: Account, params: Params) -> Object:
    percent = params.text("percent_off")
    if bool(percent) == bool(params.integer("amount_off")):
        raise Refused("Must provide one of percent_off or amount_off.", param="percent_off")
    return account.new(
        "coupon",
        id=params.text("id"),
        amount_off=params.integer("amount_off"),
        currency=params.text("currency"),
        duration=params.text("duration", "once"),
        duration_in_months=None,
        max_redemptions=None,
        metadata=params.metadata(),
        name=params.text("name"),
        percent_off=float(percent) if percent else None,
        redeem_by=None,
        times_redeemed=0,
        valid=True,
    )


@route("GET", "/v1/coupons/{id}")
def retrieve(account: Account, params: Params, id: str) -> Object:
    return account.get("coupon", id)


@route("POST", "/v1/promotion_codes", "code", "metadata", "promotion")
def create_code(account: Account, params: Params) -> Object:
    coupon = account.get("coupon", params.map("promotion").need("coupon"), "promotion[coupon]")
    return account.new(
        "promotion_code",
        active=True,
        code=params.text("code") or new_id("coupon").upper(),
        customer=None,
        customer_account=None,
        expires_at=None,
        max_redemptions=None,
        metadata=params.metadata(),
        promotion={"coupon": coupon["id"], "type": "coupon"},
        restrictions={"first_time_transaction": False, "minimum_amount": None, "minimum_amount_currency": None},
        times_redeemed=0,
    )


@route("GET", "/v1/promotion_codes", "active", "code", "created", *PAGING)
def list_codes(account: Account, params: Params) -> Object:
    return page(matching(account.all("promotion_code"), params, "code"), params, "/v1/promotion_codes")


def discount(account: Account, session: Object, code: str | None) -> int:
    """Return the cents that a session costs less, by what the shop gave it or the code that was typed.

    Raises:
        Refused: the code is unknown, or the shop takes none.
    """
    coupon = None
    if code:
        known = {row["code"].lower(): row for row in account.all("promotion_code") if row["active"]}
        if not session["allow_promotion_codes"] or code.lower() not in known:
            raise Refused("This code is invalid.", param="promotion_code")
        coupon = account.objects[known[code.lower()]["promotion"]["coupon"]]
    for given in session["_discounts"]:
        id = given.get("coupon") or account.get("promotion_code", given.get("promotion_code"))["promotion"]["coupon"]
        coupon = account.get("coupon", id, "discounts")
    if coupon is None:
        return 0
    off = (
        round(session["amount_subtotal"] * coupon["percent_off"] / 100)
        if coupon["percent_off"]
        else coupon["amount_off"]
    )
    session["discounts"] = [{"coupon": coupon["id"], "promotion_code": None}]
    return min(off, session["amount_subtotal"])
