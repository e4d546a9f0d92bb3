"""The history: everything that an account made, by filters, and what can be done with many at once."""

import re
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import User
from config.login import login_required
from generation import archive, erasure, history, waiting
from generation.history import Cursor, Filters
from generation.models import Generation, Status
from generation.pages import shown
from generation.pages.visitor import account_of, wanted_part

MOST_AT_ONCE = 500  # generations that one click deletes or downloads
VIEWS = ("gallery", "table")


class FilterForm(forms.Form):
    """What to show; every field may be left empty."""

    words = forms.CharField(required=False, max_length=200, label="Words of the prompt")
    status = forms.ChoiceField(required=False)
    mode = forms.ChoiceField(required=False, label="Kind")
    model = forms.ChoiceField(required=False)
    api_key = forms.ChoiceField(required=False, label="API key")
    since = forms.DateField(required=False, label="From", widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(required=False, label="Until", widget=forms.DateInput(attrs={"type": "date"}))
    blanked = forms.BooleanField(required=False, label="Only with blanked images")

    def __init__(self, account: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        keys = [(str(key.pk), str(key)) for key in history.keys(account)]
        choices: dict[str, list[tuple[str, str]]] = {
            "status": [(status.value, status.label) for status in Status],
            "mode": [("text2img", "from words"), ("img2img", "from an image"), ("inpaint", "repainted")],
            "model": [(name, name) for name in history.models(account)],
            "api_key": [("pages", "this site's pages"), *keys],
        }
        for name, values in choices.items():
            self.fields[name].choices = [("", "Any"), *values]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        since, until = cleaned.get("since"), cleaned.get("until")
        if since and until and until < since:
            self.add_error("until", "This is before the first day.")
        return cleaned

    def filters(self) -> Filters:
        return Filters(**self.cleaned_data)


@login_required
@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Show the newest generations that pass the filters, or those after `after`; a script gets only these."""
    account = account_of(request)
    form = FilterForm(account, request.GET)
    view = request.GET.get("view", "") if request.GET.get("view") in VIEWS else "gallery"
    facts: dict[str, Any] = {"form": form, "view": view, "page": None}
    if form.is_valid():
        filters = form.filters()
        found = history.page(account, filters, Cursor.read(request.GET.get("after", "")))
        facts |= {
            "page": found,
            "rows": [row(generation) for generation in found.generations],
            "filters": filters,
            "more": link(request, after=found.after) if found.after else "",
        }
    facts |= {"gallery_link": link(request, view="gallery"), "table_link": link(request, view="table")}
    parts = {"results": "_results.html", "more": "_more_generations.html"}
    template = parts.get(wanted_part(request), "history.html")
    return render(request, f"generation/{template}", facts)


def row(generation: Generation) -> dict[str, Any]:
    return {"generation": generation, "images": shown.images(generation), "params": generation.params}


def link(request: HttpRequest, **changes: Any) -> str:
    """Return this page's address with some parameters changed, and the page begun anew unless `after` is given."""
    kept = {name: value for name, value in request.GET.items() if value and name != "after"}
    return f"{request.path}?{urlencode(kept | changes)}"


@login_required
@require_POST
def download(request: HttpRequest) -> HttpResponse:
    """Send the images of the chosen generations as one zip file."""
    generations = list(chosen(request).order_by("pk"))
    if not any(archive.has_images(generation) for generation in generations):
        messages.warning(request, "Choose generations that have images.")
        return redirect("history")
    response = HttpResponse(content_type="application/zip")
    response["Content-Disposition"] = f'attachment; filename="atelier-{generations[0].pk}-{generations[-1].pk}.zip"'
    if not waiting.request_stream(request, partial(archive.stream, generations)):
        response.content = b"".join(archive.pieces(generations))
    return response


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HttpRequest) -> HttpResponse:
    """Delete the chosen generations once that was confirmed; who has lost the form is shown the history."""
    if request.method != "POST":
        return redirect("history")
    pks = list(chosen(request).values_list("pk", flat=True))
    if not pks:
        messages.warning(request, "Nothing was chosen.")
    elif request.POST.get("confirmed") != "yes":
        return render(request, "generation/delete.html", {"pks": pks})
    else:
        count = erasure.delete(account_of(request), pks)
        messages.success(request, f"{count} {'generation was' if count == 1 else 'generations were'} deleted.")
    return redirect("history")


def chosen(request: HttpRequest) -> Any:
    """Return the visitor's own generations that the form names."""
    pks = [int(pk) for pk in request.POST.getlist("chosen")[:MOST_AT_ONCE] if re.fullmatch("[0-9]{1,18}", pk)]
    return history.own(account_of(request)).filter(pk__in=pks)
