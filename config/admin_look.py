"""How the admin looks, and what is in its sidebar: django-unfold's settings."""

from typing import Any

from django.templatetags.static import static
from django.urls import reverse_lazy


def item(title: str, icon: str, page: str, permission: str = "") -> dict[str, Any]:
    """Return one link; without the permission it is not shown."""
    link = {"title": title, "icon": icon, "link": reverse_lazy(page)}
    return link | ({"permission": lambda request: request.user.has_perm(permission)} if permission else {})


def rows(title: str, icon: str, app: str, model: str) -> dict[str, Any]:
    return item(title, icon, f"admin:{app}_{model}_changelist", f"{app}.view_{model}")


UNFOLD = {
    "SITE_TITLE": "Atelier",
    "SITE_HEADER": "Atelier",
    "SITE_SYMBOL": "palette",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "sizes": "any", "href": lambda request: static("img/logo.svg")}
    ],
    "SHOW_BACK_BUTTON": True,
    "DASHBOARD_CALLBACK": "office.dashboard.fill",
    "STYLES": [lambda request: static("css/office.css")],
    "BORDER_RADIUS": "6px",
    "COLORS": {  # the accent of the site, from light to dark
        "primary": {
            "50": "#fdf5f0",
            "100": "#fbeee6",
            "200": "#f8d9c8",
            "300": "#f8b48f",
            "400": "#f49b6c",
            "500": "#d9652f",
            "600": "#a33f14",
            "700": "#86330f",
            "800": "#6b290c",
            "900": "#4f1f0a",
            "950": "#33211a",
        },
    },
    "SIDEBAR": {
        "show_search": True,
        "show_all_applications": True,
        "navigation": [
            {"items": [item("Today", "monitoring", "admin:index")]},
            {
                "title": "People",
                "items": [
                    rows("Accounts", "group", "accounts", "user"),
                    rows("API keys", "key", "accounts", "apikey"),
                    rows("Plans", "layers", "accounts", "plan"),
                    rows("Other limits", "tune", "accounts", "quotaoverride"),
                    rows("Roles of staff", "badge", "auth", "group"),
                ],
            },
            {
                "title": "Work",
                "items": [
                    rows("Generations", "image", "generation", "generation"),
                    rows("Webhooks", "webhook", "generation", "delivery"),
                    item("Models", "deployed_code", "served_models", "generation.view_generation"),
                    item("Queues and workers", "dns", "django_rq:home", "django_rq.admin"),
                ],
            },
            {
                "title": "Money",
                "items": [
                    rows("Purchases", "receipt_long", "billing", "purchase"),
                    rows("Subscriptions", "autorenew", "billing", "subscription"),
                    rows("Wallets", "account_balance_wallet", "billing", "wallet"),
                    rows("Ledger", "menu_book", "billing", "entry"),
                    rows("Packs for sale", "sell", "billing", "pack"),
                    rows("Plans for sale", "loyalty", "billing", "offer"),
                    rows("Automatic top-ups", "bolt", "billing", "topup"),
                    rows("Stripe's events", "inbox", "billing", "stripeevent"),
                ],
            },
            {
                "title": "Site",
                "items": [
                    rows("Announcements", "campaign", "office", "announcement"),
                    rows("Audit log", "history", "auditlog", "logentry"),
                ],
            },
        ],
    },
}
