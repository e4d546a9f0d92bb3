"""/billing/top-up/: buying credits automatically."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from accounts.requests import UserRequest
from billing import customers, gateway, top_ups
from billing.forms import TopUpForm
from billing.models import Pack, TopUp
from billing.views.doors import page, shop, to_stripe
from config.sites import base_url


@require_http_methods(["GET", "HEAD", "POST"])
@page
def top_up(request: UserRequest) -> HttpResponse:
    """Show the choices, or turn the top-up on with them."""
    chosen = TopUp.objects.filter(user=request.user).select_related("pack").first()
    cards = customers.cards(request.user) if top_ups.is_offered() else []
    form = TopUpForm(request.POST or None, cards=cards, top_up=chosen)
    if request.method == "POST" and top_ups.is_offered() and form.is_valid():
        asked = form.cleaned_data
        top_ups.turn_on(
            request.user,
            asked["threshold_credits"],
            asked["pack"],
            asked["most_a_day"],
            form.cards[asked["card"]],
        )
        messages.success(request, "Automatic top-up is on.")
        return redirect("billing:top_up")
    context = {
        "form": form,
        "top_up": chosen,
        "cards": cards,
        "is_offered": top_ups.is_offered(),
        "has_packs": Pack.objects.filter(is_active=True).exists(),
        **shop(),
    }
    return render(request, "billing/top_up.html", context, status=422 if request.method == "POST" else 200)


@require_POST
@page
def turn_off(request: UserRequest) -> HttpResponse:
    """Stop buying; what is under way is finished."""
    top_ups.turn_off(request.user)
    messages.success(request, "Automatic top-up is off.")
    return redirect("billing:top_up")


@require_POST
@page
def save_card(request: UserRequest) -> HttpResponse:
    """Go to Stripe's page where a card is saved."""
    pack = Pack.objects.filter(is_active=True).first()
    if not top_ups.is_offered() or pack is None:
        return redirect("billing:top_up")
    back = f"{base_url(request)}/billing/top-up/"
    return to_stripe(gateway.open_card_page(customers.stripe_id(request.user), pack.currency, back, back))
