"""The pages about API keys. A secret is shown in the answer to the form that made it, and nowhere else."""

from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from accounts import keys, quotas
from accounts.forms import KeyForm, RotationForm
from accounts.models import ApiKey, User
from accounts.requests import UserRequest
from config.login import login_required
from config.sites import base_url

ENDED_SHOWN = 50


@dataclass(frozen=True)
class Card:
    """One key as the list shows it."""

    key: ApiKey
    spending: quotas.Allowance


@login_required
@require_safe
def index(request: UserRequest) -> HttpResponse:
    """List the account's keys, those that are over apart."""
    own = request.user.api_keys.order_by("-created_at", "-pk")
    live = own.live()
    cards = [Card(key, spending) for key, spending in quotas.spendings(request.user, live)]
    ended = own.exclude(pk__in=live.values("pk"))[:ENDED_SHOWN]
    return render(request, "accounts/keys/index.html", {"cards": cards, "ended": ended})


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: UserRequest) -> HttpResponse:
    """Make a key and show its secret, once."""
    form = KeyForm(request.POST or None, instance=ApiKey(user=request.user))
    if not form.is_valid():
        return render(request, "accounts/keys/new.html", {"form": form})
    key: ApiKey = form.save(commit=False)
    secret = key.set_secret()
    key.save()
    return show_secret(request, key, secret)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: UserRequest, pk: int) -> HttpResponse:
    """Change what a key is called and what it is good for."""
    key = own_key(request.user, pk)
    form = KeyForm(request.POST or None, instance=key)
    if not form.is_valid():
        return render(request, "accounts/keys/edit.html", {"form": form, "key": ApiKey.objects.get(pk=pk)})
    form.save()
    messages.success(request, f"{key.name} was changed.")
    return redirect("keys")


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def rotate(request: UserRequest, pk: int) -> HttpResponse:
    """Ask how long the old secret is to work on, then replace it and show the new one, once."""
    key = own_key(request.user, pk)
    form = RotationForm(request.POST or None, initial={"last_four": key.last_four})
    if not form.is_valid():
        return ask(request, "rotate", {"form": form, "key": key})
    try:
        if form.cleaned_data["last_four"] != key.last_four:
            raise keys.KeyIsOver
        secret = keys.rotate(key, form.cleaned_data["grace"])
    except keys.KeyIsOver:
        messages.error(request, f"{key.name} has expired, or was changed on another page, and was not rotated.")
        return redirect("keys")
    return show_secret(request, key, secret)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def revoke(request: UserRequest, pk: int) -> HttpResponse:
    """Ask, then end the key for good."""
    key = own_key(request.user, pk)
    if request.method != "POST":
        return ask(request, "revoke", {"key": key})
    keys.revoke(key)
    messages.success(request, f"{key.name} was revoked. Programs that use it are refused from now on.")
    return redirect("keys")


def own_key(user: User, pk: int) -> ApiKey:
    return get_object_or_404(user.api_keys, pk=pk, revoked_at=None)


def ask(request: UserRequest, question: str, context: dict[str, object]) -> HttpResponse:
    """Show a question: what htmx puts into the page's dialog, or a page of its own."""
    part = "_" if request.htmx else ""
    return render(request, f"accounts/keys/{part}{question}.html", context)


def show_secret(request: UserRequest, key: ApiKey, secret: str) -> HttpResponse:
    return render(request, "accounts/keys/secret.html", {"key": key, "secret": secret, "base_url": base_url(request)})
