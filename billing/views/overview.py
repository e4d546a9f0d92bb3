"""/billing/: what is there, what it buys, and what it was spent on."""

from datetime import timedelta

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone

from accounts.models import User
from accounts.requests import UserRequest
from billing import gateway, history, subscriptions
from billing.models import TopUp, Wallet
from billing.views.doors import page
from config.charts import Box, Chart, bars, dated

CHART_DAYS = 30
CHART_BOX = Box(left=44, top=8, right=720, bottom=158)  # numbers stand beside it, days below


@page
def overview(request: UserRequest) -> HttpResponse:
    """Show the balance, what was spent a day, and the latest entries."""
    user = request.user
    wallet = Wallet.objects.get(user=user)
    return render(
        request,
        "billing/overview.html",
        {
            "wallet": wallet,
            "images": wallet.balance // settings.DEFAULT_IMAGE_CREDITS,
            "subscription": subscriptions.current(user),
            "top_up": TopUp.objects.filter(user=user).select_related("pack").first(),
            "chart": spent_a_day(user),
            "chart_days": CHART_DAYS,
            "rows": history.page(user.pk)[0][:8],
            "takes_cards": gateway.is_on(),
        },
    )


def spent_a_day(user: User) -> Chart:
    today = timezone.now().date()
    spent = history.spent_a_day(user.pk, today - timedelta(days=CHART_DAYS - 1), today)
    title = f"Credits spent on each of the last {CHART_DAYS} days"
    return bars("spent", title, dated(day for day, _ in spent), {"": [credits for _, credits in spent]}, CHART_BOX)
