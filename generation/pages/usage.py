"""What an account used, as charts, tables and CSV, and how much it may still use."""

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts import quotas
from accounts.models import User
from config.charts import Chart, bars, dated, lines
from config.login import login_required
from config.spreadsheets import harmless
from generation import history, services, usage
from generation.pages.visitor import account_of
from generation.usage import Part, Use

SPANS = {"7": "7 days", "30": "30 days", "90": "90 days", "365": "a year"}
COLUMNS = [
    "day",
    "api_key",
    "model",
    "succeeded",
    "failed",
    "canceled",
    "images",
    "credits",
    "p50_seconds",
    "p95_seconds",
]
LIMIT_NAMES = {
    "requests_per_minute": "Requests this minute",
    "images_per_day": "Images today",
    "images_per_month": "Images this month",
    "generations_at_once": "Generations at once",
}


class SpanForm(forms.Form):
    """Which part of the usage to show."""

    days = forms.ChoiceField(required=False, choices=list(SPANS.items()), label="Last")
    api_key = forms.ChoiceField(required=False, label="API key")
    model = forms.ChoiceField(required=False)

    def __init__(self, account: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        keys = [(str(key.pk), str(key)) for key in history.keys(account)]
        models = [(name, name) for name in history.models(account)]
        self.fields["api_key"].choices = [("", "All"), ("pages", "This site's pages"), *keys]  # type: ignore[attr-defined]
        self.fields["model"].choices = [("", "All"), *models]  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Report:
    """The usage of some days, narrowed to a key or a model."""

    since: date
    until: date
    parts: dict[Part, Use]
    key_names: dict[int | None, str]

    @property
    def days(self) -> list[date]:
        return [self.since + timedelta(days=k) for k in range((self.until - self.since).days + 1)]

    @property
    def whole(self) -> Use:
        return added(self.parts.values())

    def by(self, name: Callable[[Part], Any]) -> dict[Any, Use]:
        """Return the usage grouped by what `name` says of each part."""
        groups: dict[Any, Use] = {}
        for part, use in self.parts.items():
            groups.setdefault(name(part), Use()).add(use)
        return groups

    def key_name(self, part: Part) -> str:
        return self.key_names.get(part.api_key_id, "a deleted key")


def added(uses: Iterable[Use]) -> Use:
    whole = Use()
    for use in uses:
        whole.add(use)
    return whole


def report(account: User, form: SpanForm) -> Report:
    """Return the usage that the form asks for; 30 days of everything when it asks for nonsense."""
    wanted = form.cleaned_data if form.is_valid() else {}
    until = timezone.now().astimezone(UTC).date()
    since = until - timedelta(days=int(wanted.get("days") or 30) - 1)
    names: dict[int | None, str] = {key.pk: str(key) for key in history.keys(account)}
    parts = usage.used(account, since, until)
    if key := wanted.get("api_key"):
        key_id = None if key == "pages" else int(key)
        parts = {part: use for part, use in parts.items() if part.api_key_id == key_id}
    if model := wanted.get("model"):
        parts = {part: use for part, use in parts.items() if part.model == model}
    return Report(since, until, parts, names | {None: "this site's pages"})


@login_required
@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Show the charts, the sums by key and model, and the limits."""
    account = account_of(request)
    form = SpanForm(account, {"days": "30", **request.GET.dict()})
    shown, limits = report(account, form), quotas.limits(account)
    context = {
        "form": form,
        "report": shown,
        "whole": shown.whole,
        "charts": drawn(shown),
        "by_key": sorted(shown.by(shown.key_name).items(), key=lambda group: -group[1].credits),
        "by_model": sorted(shown.by(lambda part: part.model or "none").items(), key=lambda group: -group[1].credits),
        "allowances": [
            {"label": LIMIT_NAMES.get(allowance.name, allowance.name), "allowance": allowance}
            for allowance in quotas.allowances(account, services.live(account), limits)
        ],
        "limits": limits,
        "csv": urlencode({name: value for name, value in request.GET.items() if value}),
    }
    return render(request, "generation/usage.html", context)


def drawn(shown: Report) -> list[Chart]:
    """Return the charts of a report."""
    by_day = shown.by(lambda part: part.day)
    uses = [by_day.get(day, Use()) for day in shown.days]
    labels = dated(shown.days)
    p95 = shown.whole.p95_seconds
    return [
        bars("images", "Images", labels, {"images": [use.images for use in uses]}),
        bars("credits", "Credits", labels, {"credits": [use.credits for use in uses]}),
        lines(
            "latency",
            "From request to image",
            labels,
            {"p50": [use.p50_seconds for use in uses], "p95": [use.p95_seconds for use in uses]},
            seconds,
            f"p95 {seconds(p95)}" if p95 else "",
        ),
        bars(
            "failures",
            "Failed and canceled",
            labels,
            {"failed": [use.failed for use in uses], "canceled": [use.canceled for use in uses]},
        ),
    ]


def seconds(value: float) -> str:
    return f"{value:,.0f} s" if value >= 100 else f"{value:.3g} s"


@login_required
@require_safe
def csv_file(request: HttpRequest) -> HttpResponse:
    """Send the usage, a line for each day, key and model."""
    account = account_of(request)
    shown = report(account, SpanForm(account, {"days": "30", **request.GET.dict()}))
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="atelier-usage-{shown.since}-{shown.until}.csv"'
    writer = csv.writer(response)
    writer.writerow(COLUMNS)
    for part, use in sorted(
        shown.parts.items(), key=lambda item: (item[0].day, shown.key_name(item[0]), item[0].model)
    ):
        latencies = [f"{value:.3f}" if value is not None else "" for value in (use.p50_seconds, use.p95_seconds)]
        counts = [use.succeeded, use.failed, use.canceled, use.images, use.credits]
        writer.writerow([part.day, harmless(shown.key_name(part)), harmless(part.model), *counts, *latencies])
    return response
