"""The page about what an account prefers."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from accounts.forms import PreferencesForm
from accounts.models import User
from accounts.requests import UserRequest
from config.login import login_required


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def preferences(request: UserRequest) -> HttpResponse:
    """Show and change the time zone."""
    form = PreferencesForm(request.POST or None, instance=User.objects.get(pk=request.user.pk))
    if not form.is_valid():
        return render(request, "accounts/preferences.html", {"form": form})
    User.objects.filter(pk=request.user.pk).update(time_zone=form.cleaned_data["time_zone"])
    messages.success(request, "Your time zone is changed.")
    return redirect("preferences")
