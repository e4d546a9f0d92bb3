"""Events: what happened, to be asked for as well as told by webhooks."""

from tests.stripe_server.account import Account, Object
from tests.stripe_server.lists import PAGING, page
from tests.stripe_server.params import Params
from tests.stripe_server.routes import route


@route("GET", "/v1/events", "created", "delivery_success", "type", "types", *PAGING)
def list_(account: Account, params: Params) -> Object:
    wanted = account.all("event")
    types = params.get("types") or ([params["type"]] if params.get("type") else [])
    if types:
        wanted = [event for event in wanted if any(fits(event["type"], type) for type in types)]
    return page(wanted, params, "/v1/events")


def fits(type: str, wish: str) -> bool:
    return type == wish or (wish.endswith("*") and type.startswith(wish[:-1]))


@route("GET", "/v1/events/{id}")
def retrieve(account: Account, params: Params, id: str) -> Object:
    return account.get("event", id)


@route("GET", "/v1/account")
def retrieve_account(account: Account, params: Params) -> Object:
    return {"id": account.id, "object": "account", "country": "US", "default_currency": "usd", "email": None}


@route("GET", "/v1/accounts/{id}")
def retrieve_account_by_id(account: Account, params: Params, id: str) -> Object:
    return retrieve_account(account, params)
