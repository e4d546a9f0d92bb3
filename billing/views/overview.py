"""/billing/: what is there, what it buys, and what it was spent on."""

from datetime import timedelta

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone

from billing import charts, gateway, history, subscriptions
from billing.models import TopUp, Wallet
from billing.views.doors import Visit, page

CHART_DAYS = 30


@page
def overview(request: Visit) -> HttpResponse:
    """Show the balance, what was spent a day, and the latest entries."""
    user = request.user
    wallet = Wallet.objects.get(user=user)
    today = timezone.now().date()
    spent = history.spent_a_day(user.pk, today - timedelta(days=CHART_DAYS - 1), today)
    return render(
        request,
        "billing/overview.html",
        {
            "wallet": wallet,
            "images": wallet.balance // settings.DEFAULT_IMAGE_CREDITS,
            "subscription": subscriptions.current(user),
            "top_up": TopUp.objects.filter(user=user).select_related("pack").first(),
            "chart": charts.bars(spent),
            "chart_days": CHART_DAYS,
            "rows": history.page(user.pk)[0][:8],
            "takes_cards": gateway.is_on(),
        },
    )
