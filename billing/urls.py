"""The addresses of billing's pages, below /billing/."""

from django.urls import path

from billing.views import buy, entries, overview, plan, top_up

app_name = "billing"
urlpatterns = [
    path("", overview.overview, name="overview"),
    path("buy/", buy.buy, name="buy"),
    path("purchases/", buy.purchase_list, name="purchases"),
    path("purchases/<uuid:pk>/", buy.purchase, name="purchase"),
    path("purchases/<uuid:pk>/state/", buy.purchase_state, name="purchase_state"),
    path("purchases/<uuid:pk>/canceled/", buy.canceled, name="canceled"),
    path("plan/", plan.plan, name="plan"),
    path("plan/<uuid:pk>/", plan.plan_begun, name="plan_begun"),
    path("plan/<uuid:pk>/state/", plan.plan_state, name="plan_state"),
    path("portal/", plan.portal, name="portal"),
    path("top-up/", top_up.top_up, name="top_up"),
    path("top-up/off/", top_up.turn_off, name="top_up_off"),
    path("top-up/card/", top_up.save_card, name="save_card"),
    path("history/", entries.entries, name="entries"),
    path("history.csv", entries.entries_csv, name="entries_csv"),
]
