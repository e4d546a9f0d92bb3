"""The pages about webhooks: endpoints, deliveries, the secret."""

import re
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from config.login import login_required
from generation.pages.history import link
from generation.pages.visitor import account_of, wanted_part
from generation.webhooks import listening
from generation.webhooks.forms import ADDRESS_TAKEN, EndpointForm, SinceForm
from generation.webhooks.models import Delivery, Endpoint, SilencedUrl

PAGE = 50  # deliveries
SILENCED_SHOWN = 50


@login_required
def overview(request: HttpRequest) -> HttpResponse:
    """Show the endpoints, the secret and what was switched off; add an endpoint."""
    account = account_of(request)
    form = EndpointForm(account, request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            listening.add(form.save(commit=False))
        except listening.TooManyEndpoints:
            form.add_error(None, f"An account has at most {listening.MOST_ENDPOINTS} endpoints; delete one first.")
        except listening.AddressTaken:
            form.add_error("url", ADDRESS_TAKEN)
        else:
            messages.success(request, "The endpoint was added. Send it a test.")
            return redirect("webhooks")
    gone = SilencedUrl.objects.filter(api_key__user=account).select_related("api_key").order_by("-pk")
    silenced = list(gone[: SILENCED_SHOWN + 1])
    context = {
        "form": form,
        "endpoints": Endpoint.objects.filter(account=account).order_by("pk"),
        "secrets": account.live_webhook_secrets,
        "silenced": silenced[:SILENCED_SHOWN],
        "more_silenced": len(silenced) > SILENCED_SHOWN,
        "deliveries": own_deliveries(request)[:5],
    }
    return render(request, "webhooks/overview.html", context, status=422 if form.errors else 200)


@login_required
def endpoint(request: HttpRequest, pk: int) -> HttpResponse:
    """Show and change one endpoint."""
    changed = get_object_or_404(Endpoint, pk=pk, account=account_of(request))
    form = EndpointForm(account_of(request), request.POST or None, instance=changed)
    if request.method == "POST" and form.is_valid():
        try:
            listening.change(form.save(commit=False))
        except listening.AddressTaken:
            form.add_error("url", ADDRESS_TAKEN)
        except Endpoint.DoesNotExist:
            raise Http404 from None
        else:
            messages.success(request, "The endpoint was saved.")
            return redirect("webhooks")
    context = {"form": form, "endpoint": changed, "deliveries": own_deliveries(request).filter(endpoint=changed)[:20]}
    return render(request, "webhooks/endpoint.html", context, status=422 if form.errors else 200)


@login_required
@require_POST
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Remove an endpoint with its deliveries."""
    listening.delete(get_object_or_404(Endpoint, pk=pk, account=account_of(request)))
    messages.success(request, "The endpoint was deleted.")
    return redirect("webhooks")


@login_required
@require_POST
def ping(request: HttpRequest, pk: int) -> HttpResponse:
    """Send an endpoint a test, and show what becomes of it."""
    delivery = listening.ping(get_object_or_404(Endpoint, pk=pk, account=account_of(request)))
    return redirect("webhook_delivery", pk=delivery.pk)


@login_required
def deliveries(request: HttpRequest) -> HttpResponse:
    """List what was told, newest first, or what is older than `after`; send again all that failed since a time."""
    form = SinceForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        count = listening.resend(own_deliveries(request), since=form.cleaned_data["since"])
        messages.success(request, f"{count} deliveries are sent again.")
        return redirect("webhook_deliveries")
    state = request.GET.get("state", "")
    rows = own_deliveries(request)
    if state in Delivery.State.values:
        rows = rows.filter(state=state)
    if re.fullmatch("[0-9]{1,18}", request.GET.get("after", "")):
        rows = rows.filter(pk__lt=int(request.GET["after"]))
    shown = list(rows[: PAGE + 1])
    context: dict[str, Any] = {
        "form": form,
        "deliveries": shown[:PAGE],
        "more": link(request, after=shown[PAGE - 1].pk) if len(shown) > PAGE else "",
        "state": state,
        "states": Delivery.State.values,
    }
    template = "webhooks/_more_deliveries.html" if wanted_part(request) == "more" else "webhooks/deliveries.html"
    return render(request, template, context, status=422 if form.errors else 200)


@login_required
def delivery(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one delivery with every attempt; while it is pending, the page asks again by itself."""
    shown = get_object_or_404(own_deliveries(request), pk=pk)
    template = "webhooks/_attempts.html" if request.headers.get("HX-Request") else "webhooks/delivery.html"
    return render(request, template, {"delivery": shown, "attempts": shown.log.order_by("-pk")})


@login_required
@require_POST
def resend(request: HttpRequest, pk: int) -> HttpResponse:
    """Send again one delivery that failed."""
    failed = get_object_or_404(own_deliveries(request), pk=pk)
    if listening.resend(Delivery.objects.filter(pk=failed.pk)):
        messages.success(request, "It is sent again.")
    return redirect("webhook_delivery", pk=pk)


@login_required
@require_POST
def rotate_secret(request: HttpRequest) -> HttpResponse:
    """Sign with a new secret, and for a day with the present one too."""
    account_of(request).rotate_webhook_secret()
    messages.success(request, "A new secret signs now. The one before it signs as well, for 24 hours.")
    return redirect("webhooks")


@login_required
@require_POST
def hear_again(request: HttpRequest, pk: int) -> HttpResponse:
    """Call an address again that had answered 410 Gone."""
    listening.hear_again(get_object_or_404(SilencedUrl, pk=pk, api_key__user=account_of(request)))
    messages.success(request, "The address is called again from now on.")
    return redirect("webhooks")


def own_deliveries(request: HttpRequest) -> Any:
    return Delivery.objects.filter(account=account_of(request)).select_related("event").order_by("-pk")
