"""/billing/plan/: which plan the account is on, and the ways to another."""

from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import User
from accounts.requests import UserRequest
from billing import customers, gateway, subscriptions
from billing.models import Offer, Subscription
from billing.sale import NotForSale
from billing.views.doors import page, shop, to_stripe
from billing.views.waiting import MOST_LOOKS, ask_now_and_then, looks, number, renewed
from config.sites import base_url


@require_http_methods(["GET", "HEAD", "POST"])
@page
def plan(request: UserRequest) -> HttpResponse:
    """Show the plans, or go to Stripe's page for one of them."""
    if request.method == "POST" and gateway.is_on():
        offer = get_object_or_404(Offer.objects.select_related("plan"), pk=number(request.POST.get("offer")))
        try:
            begun = subscriptions.subscribe(request.user, offer, base_url(request))
        except NotForSale:
            messages.error(request, f"The {offer} plan is not on sale. Choose another plan.")
            return redirect("billing:plan")
        except subscriptions.SubscribedAlready:
            messages.info(request, "You have a subscription. Change it on Stripe's page, below.")
            return redirect("billing:plan")
        if begun.session_url:
            return to_stripe(begun.session_url)
        return redirect("billing:plan_begun", begun.pk)
    return render(request, "billing/plan.html", plans(request))


@require_safe
@page
def plan_begun(request: UserRequest, pk: UUID) -> HttpResponse:
    """Wait for a subscription to begin; Stripe's page leads back here."""
    found = get_object_or_404(Subscription.objects.select_related("offer__plan"), pk=pk, user=request.user)
    return render(request, "billing/plan_begun.html", state(found, 0))


@require_safe
@page
def plan_state(request: UserRequest, pk: UUID) -> HttpResponse:
    """Show the part of the page that changes; asked for every second while the payment is awaited."""
    found = get_object_or_404(Subscription.objects.select_related("offer__plan"), pk=pk, user=request.user)
    if not request.htmx:
        return redirect("billing:plan_begun", pk)
    if is_unsettled(found) and found.session_id:
        ask_now_and_then(looks(request), partial(subscriptions.read_again, found))
    return renewed(render(request, "billing/_plan_state.html", state(found, looks(request))), not is_unsettled(found))


@require_POST
@page
def portal(request: UserRequest) -> HttpResponse:
    """Go to Stripe's page where plan, card and address are changed."""
    customer_id = customers.known_stripe_id(request.user)
    if not (gateway.is_on() and customer_id):
        messages.info(request, "There is nothing to change at Stripe yet: you have not bought anything.")
        return redirect("billing:plan")
    return to_stripe(gateway.open_portal(customer_id, f"{base_url(request)}/billing/plan/"))


def plans(request: UserRequest) -> dict[str, Any]:
    user = User.objects.select_related("plan").get(pk=request.user.pk)
    return {
        "offers": Offer.objects.filter(is_active=True).select_related("plan"),
        "plan": user.plan,
        "subscription": subscriptions.current(user),
        "can_subscribe": gateway.is_on() and subscriptions.free_offer() is not None,
        "is_customer": bool(customers.known_stripe_id(user)),
        **shop(),
    }


def state(found: Subscription, looks: int) -> dict[str, Any]:
    return {
        "subscription": found,
        "looks": looks + 1,
        "is_waiting": is_unsettled(found) and looks < MOST_LOOKS,
        "is_unsettled": is_unsettled(found),
    }


def is_unsettled(found: Subscription) -> bool:
    return found.status in (Subscription.Status.STARTING, Subscription.Status.INCOMPLETE)
