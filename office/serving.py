"""The models that the site serves: what is loaded where, and how each did in the last days."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, timedelta

from django.contrib import admin
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from generation import queue, usage
from generation.serving import served_model
from generation.usage import Use

DAYS = 7


@dataclass(frozen=True)
class Served:
    """A model, or with an empty name what ended before it came to one."""

    name: str
    is_default: bool  # what the settings name: new generations are made with it
    devices: Counter[str]  # of the living workers that have loaded it
    use: Use  # of the last days

    @property
    def where(self) -> str:
        return ", ".join(f"{device} × {count}" if count > 1 else device for device, count in self.devices.items())

    @property
    def failed_percent(self) -> float | None:
        """How many of a hundred that ended by themselves failed; none when nothing did."""
        ended = self.use.succeeded + self.use.failed
        return 100 * self.use.failed / ended if ended else None


def served() -> list[Served]:
    """Return the default model, those that workers have loaded, and those that made something in the last days."""
    today = timezone.now().astimezone(UTC).date()
    uses, default = usage.by_model(today - timedelta(days=DAYS - 1), today), served_model()
    devices: dict[str, Counter[str]] = {}
    for facts in queue.gpu_workers().values():
        if "model" in facts:
            devices.setdefault(facts["model"], Counter())[facts["device"]] += 1
    models = [
        Served(name, name == default, devices.get(name, Counter()), uses.get(name, Use()))
        for name in {default, *devices, *uses}
    ]
    return sorted(models, key=lambda model: (not model.is_default, not model.name, -model.use.generations, model.name))


@admin.site.admin_view
@permission_required("generation.view_generation", raise_exception=True)
@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Show the models."""
    facts = {"title": "Models", "models": served(), "days": DAYS}
    return TemplateResponse(request, "office/models.html", admin.site.each_context(request) | facts)
