"""Lists of objects: newest first, filtered, a page at a time; and the expansion of ids into objects."""

from collections.abc import Callable, Iterable
from typing import Any

from tests.stripe_server.account import Account, Object, public
from tests.stripe_server.errors import Refused
from tests.stripe_server.params import Params

PAGING = ("limit", "starting_after", "ending_before")
COMPARE: dict[str, Callable[[int, int], bool]] = {
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
}


def page(things: Iterable[Object], params: Params, url: str) -> Object:
    """Return one page of `things`, which come oldest first."""
    rows = [thing for thing in reversed(list(things)) if created_within(thing, params)]
    limit = params.integer("limit", 10) or 0
    if not 1 <= limit <= 100:
        raise Refused("Limit must be between 1 and 100.", param="limit")
    if params.text("ending_before"):
        rows = rows[: position(rows, params, "ending_before")]
        shown, has_more = rows[-limit:], len(rows) > limit
    else:
        start = position(rows, params, "starting_after") + 1 if params.text("starting_after") else 0
        shown, has_more = rows[start : start + limit], len(rows) > start + limit
    return {"object": "list", "url": url, "has_more": has_more, "data": shown}


def position(rows: list[Object], params: Params, name: str) -> int:
    for index, row in enumerate(rows):
        if row["id"] == params[name]:
            return index
    raise Refused(f"No such object: '{params[name]}'", code="resource_missing", param=name)


def created_within(thing: Object, params: Params) -> bool:
    wanted = params.get("created")
    if wanted is None:
        return True
    bounds = params.map("created") if isinstance(wanted, dict) else Params(gte=wanted, lte=wanted)
    bounds.only(COMPARE)
    return all(COMPARE[name](thing["created"], bounds.integer(name) or 0) for name in bounds)


def matching(things: Iterable[Object], params: Params, *fields: str) -> list[Object]:
    """Return the things whose fields equal the parameters of the same names that were sent."""
    wanted = {name: params[name] for name in fields if params.get(name)}
    return [thing for thing in things if all(thing[name] == value for name, value in wanted.items())]


def whole(rows: list[Object], url: str) -> Object:
    """Return a list inside an object, which is never cut here."""
    return {"object": "list", "url": url, "has_more": False, "data": rows}


def expanded(account: Account, answer: Object, params: Params) -> Object:
    """Return a copy of the answer with `expand[]` carried out."""
    answer = public(answer)
    for path in params.get("expand") or []:
        expand(account, answer, path.split("."), path)
    return answer


def expand(account: Account, node: Any, steps: list[str], path: str) -> None:
    if isinstance(node, list):
        for item in node:
            expand(account, item, steps, path)
        return
    if not steps or node is None:
        return
    if not isinstance(node, dict):
        raise Refused(f"This property cannot be expanded ({path}).", param="expand")
    name, *rest = steps
    if name not in node:
        node[name] = public(included(account, node, name, path))
    if isinstance(node[name], str) and node[name] in account.objects:
        node[name] = public(account.objects[node[name]])
    expand(account, node[name], rest, path)


def included(account: Account, thing: Object, name: str, path: str) -> Any:
    """Return a list that an object carries only when it is asked for."""
    id = thing.get("id", "")
    match thing.get("object"), name:
        case "checkout.session", "line_items":
            rows = [row for row in account.all("item") if row["_session"] == id]
            return whole(rows, f"/v1/checkout/sessions/{id}/line_items")
        case "charge", "refunds":
            rows = [row for row in reversed(account.all("refund")) if row["charge"] == id]
            return whole(rows, f"/v1/charges/{id}/refunds")
        case "customer", "subscriptions":
            rows = [row for row in reversed(account.all("subscription")) if row["customer"] == id]
            alive = [row for row in rows if row["status"] != "canceled"]
            return whole(alive, f"/v1/customers/{id}/subscriptions")
        case "invoice", "payments":
            rows = [row for row in reversed(account.all("invoice_payment")) if row["invoice"] == id]
            return whole(rows, "/v1/invoice_payments")
    raise Refused(f"This property cannot be expanded ({path}).", param="expand")
