"""/billing/buy/ and /billing/purchases/: from a pack to its credits."""

from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from accounts.requests import UserRequest
from billing import gateway, ledger, purchases
from billing.models import Pack, Purchase
from billing.sale import NotForSale
from billing.views.doors import page, shop, to_stripe
from billing.views.waiting import MOST_LOOKS, ask_now_and_then, looks, number, renewed
from config.sites import base_url


@require_http_methods(["GET", "HEAD", "POST"])
@page
def buy(request: UserRequest) -> HttpResponse:
    """Show the packs, or go to Stripe's page for one of them."""
    if request.method == "POST" and gateway.is_on():
        pack = get_object_or_404(Pack, pk=number(request.POST.get("pack")))
        try:
            purchase = purchases.buy(request.user, pack, base_url(request))
        except NotForSale:
            messages.error(request, f"{pack.name} is not on sale any more. Choose another pack.")
            return redirect("billing:buy")
        return to_stripe(purchase.session_url) if purchase.session_url else redirect("billing:purchase", purchase.pk)
    packs = [
        {"pack": pack, "images": pack.credits // settings.DEFAULT_IMAGE_CREDITS}
        for pack in Pack.objects.filter(is_active=True)
    ]
    context = {"packs": packs, "image_credits": settings.DEFAULT_IMAGE_CREDITS}
    return render(request, "billing/buy.html", context | shop())


@require_safe
@page
def purchase_list(request: UserRequest) -> HttpResponse:
    """Show what was bought, with Stripe's receipts and invoices."""
    paid = Purchase.objects.filter(user=request.user, status=Purchase.Status.PAID).order_by("-paid_at")
    return render(request, "billing/purchases.html", {"purchases": paid[:500], **shop()})


@require_safe
@page
def purchase(request: UserRequest, pk: UUID) -> HttpResponse:
    """Wait for a payment, and show what became of it; Stripe's page leads back here."""
    found = get_object_or_404(Purchase, pk=pk, user=request.user)
    return render(request, "billing/purchase.html", state(request, found, 0))


@require_safe
@page
def purchase_state(request: UserRequest, pk: UUID) -> HttpResponse:
    """Show the part of the page that changes; asked for every second while the payment is awaited."""
    found = get_object_or_404(Purchase, pk=pk, user=request.user)
    if not request.htmx:
        return redirect("billing:purchase", pk)
    if not found.is_final and (found.session_id or found.payment_intent_id):
        ask_now_and_then(looks(request), partial(purchases.read_again, found))
    shown = render(request, "billing/_purchase_state.html", state(request, found, looks(request)))
    return renewed(shown, found.is_final)


@require_safe
@page
def canceled(request: UserRequest, pk: UUID) -> HttpResponse:
    """Say that nothing was charged; Stripe's page leads here when the customer goes back."""
    found = get_object_or_404(Purchase, pk=pk, user=request.user)
    if found.is_final:
        return redirect("billing:purchase", found.pk)
    return render(request, "billing/canceled.html", {"purchase": found, **shop()})


def state(request: HttpRequest, found: Purchase, looks: int) -> dict[str, Any]:
    return {
        "purchase": found,
        "looks": looks + 1,
        "is_waiting": not found.is_final and looks < MOST_LOOKS,
        "balance": ledger.balance(found.user_id),
    }
