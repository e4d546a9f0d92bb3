"""The customer portal: a page where customers change their plan and card, or cancel."""

from tests.stripe_server.account import Account, Object
from tests.stripe_server.params import Params
from tests.stripe_server.routes import route


@route("POST", "/v1/billing_portal/sessions", "configuration", "customer", "flow_data", "locale", "return_url")
def create(account: Account, params: Params) -> Object:
    customer = account.get("customer", params.need("customer"), "customer")
    configuration = params.text("configuration")
    if configuration:
        account.get("billing_portal.configuration", configuration, "configuration")
    flow = params.map("flow_data")
    session = account.new(
        "billing_portal.session",
        configuration=configuration or "bpc_1Pretend",
        customer=customer["id"],
        customer_account=None,
        flow=flow_of(flow) if flow else None,
        locale=params.text("locale"),
        on_behalf_of=None,
        return_url=params.text("return_url"),
    )
    session["url"] = f"{account.url}/portal/{session['id']}"
    return session


def flow_of(flow: Params) -> Object:
    kind = flow.need("type")
    kinds = ("subscription_cancel", "subscription_update", "subscription_update_confirm")
    return {
        "after_completion": {"hosted_confirmation": None, "redirect": None, "type": "portal_homepage"},
        "type": kind,
    } | {name: dict(flow.map(name)) if name == kind else None for name in kinds}


@route(
    "POST",
    "/v1/billing_portal/configurations",
    *("business_profile", "default_return_url", "features", "metadata", "name"),
)
def create_configuration(account: Account, params: Params) -> Object:
    params.need("features")
    return account.new(
        "billing_portal.configuration",
        active=True,
        application=None,
        business_profile={"headline": None, "privacy_policy_url": None, "terms_of_service_url": None}
        | params.map("business_profile"),
        default_return_url=params.text("default_return_url"),
        features=dict(params.map("features")),
        is_default=False,
        login_page={"enabled": False, "url": None},
        metadata=params.metadata(),
        name=params.text("name"),
        updated=account.now(),
    )
