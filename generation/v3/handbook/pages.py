"""The pages of the documentation; they are public, and know the reader's host and the end of the reader's key."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from accounts import quotas
from accounts.models import ApiKey, Scope
from config.sites import base_url
from generation.models import Generation
from generation.samples import KEY_PLACEHOLDER, Sample, samples
from generation.v3.handbook import examples, postman
from generation.v3.handbook.reference import endpoints
from generation.v3.handbook.refusals import as_json, refusals
from generation.webhooks import listening, outbox, sending
from generation.webhooks.models import Event

PROGRAMS = Path(__file__).parent / "programs"
PAGES = {  # address → title; each has a template of its name
    "": "Documentation",
    "quick-start": "Quick start",
    "authentication": "Authentication",
    "answers": "Answers",
    "errors": "Errors",
    "webhooks": "Webhooks",
    "limits": "Limits and rates",
    "repeating": "Repeating and canceling",
    "credits": "Credits",
}


def page(request: HttpRequest, name: str) -> HttpResponse:
    """Show one of PAGES."""
    facts = frame(request, f"/docs/{name}/" if name else "/docs/") | {"title": PAGES[name]}
    return render(request, f"docs/{name or 'index'}.html", facts | MORE.get(name, nothing)(request))


def endpoint(request: HttpRequest, name: str) -> HttpResponse:
    """Show one endpoint with its parameters and answers."""
    facts = {"endpoint": endpoints()[name], "title": name, "samples": request_samples(request, name)}
    return render(request, "docs/endpoint.html", frame(request, address(name)) | facts)


def postman_collection(request: HttpRequest) -> HttpResponse:
    """Send the Postman collection for the reader's host."""
    response = JsonResponse(postman.collection(base_url(request)), json_dumps_params={"indent": 2})
    response["Content-Disposition"] = 'attachment; filename="atelier.postman_collection.json"'
    return response


def frame(request: HttpRequest, current: str) -> dict[str, Any]:
    """Return what every page of the documentation needs."""
    api_key = own_key(request)
    return {
        "base_url": base_url(request),
        "key": shown_key(api_key),
        "api_key": api_key,
        "current": current,
        "links": {
            "Start": [(title(name), f"/docs/{name}/" if name else "/docs/") for name in list(PAGES)[:3]],
            "Endpoints": [(name, address(name)) for name in endpoints()],
            "Guides": [(title(name), f"/docs/{name}/") for name in list(PAGES)[3:]],
        },
    }


def title(name: str) -> str:
    return PAGES[name] if name else "Overview"


def slug(name: str) -> str:
    """Return an endpoint's name as part of an address: fetch/{id} is fetch-id."""
    return name.replace("/", "-").replace("{", "").replace("}", "").replace("_", "-")


def address(name: str) -> str:
    return f"/docs/endpoints/{slug(name)}/"


def own_key(request: HttpRequest) -> ApiKey | None:
    """Return the reader's newest key that can make images."""
    if not request.user.is_authenticated:
        return None
    return ApiKey.objects.live().filter(user=request.user, scope=Scope.GENERATE).order_by("-pk").first()


def shown_key(api_key: ApiKey | None) -> str:
    """Return what stands for the key in samples: of one's own the end, for the whole is known to its holder alone."""
    return f"sk_…{api_key.last_four}" if api_key else KEY_PLACEHOLDER


def request_samples(request: HttpRequest, name: str) -> list[Sample]:
    """Return the endpoint's example in every language, about the reader's newest generation where it needs one."""
    own = Generation.objects.filter(account=request.user, deleted_at=None) if request.user.is_authenticated else None
    newest = own.order_by("-created_at", "-id").values_list("pk", flat=True).first() if own is not None else None
    pk, base = newest or examples.EXAMPLE_ID, base_url(request)
    body = examples.parameters(name, base, pk)
    return samples(base, examples.path(name, pk), body, shown_key(own_key(request)))


def nothing(request: HttpRequest) -> dict[str, Any]:
    return {}


def index(request: HttpRequest) -> dict[str, Any]:
    return {"endpoints": [(endpoint, address(name)) for name, endpoint in endpoints().items()]}


def quick_start(request: HttpRequest) -> dict[str, Any]:
    return {
        "samples": request_samples(request, "img2img"),
        "fetch_samples": request_samples(request, "fetch/{id}"),
        "success": as_json(examples.success(base_url(request))),
    }


def authentication(request: HttpRequest) -> dict[str, Any]:
    key = shown_key(own_key(request))
    return {"header_sample": f"curl -X POST {base_url(request)}/api/v3/account -H 'Authorization: Bearer {key}'"}


def answers(request: HttpRequest) -> dict[str, Any]:
    base = base_url(request)
    return {
        "success": as_json(examples.success(base)),
        "processing": as_json(examples.processing(base)),
        "failed": as_json(examples.failed()),
        "sync_wait_seconds": settings.SYNC_WAIT_SECONDS,
        "fetch_wait_seconds": settings.FETCH_WAIT_SECONDS,
    }


def errors(request: HttpRequest) -> dict[str, Any]:
    return {"refusals": refusals(base_url(request)), "real_codes": settings.V3_REAL_STATUS_CODES}


def webhooks(request: HttpRequest) -> dict[str, Any]:
    programs = [("python", "Python", "py"), ("node", "Node.js", "mjs"), ("php", "PHP", "php")]
    return {
        "event": as_json(examples.event(base_url(request))),
        "event_types": Event.Type.values,
        "timeout_seconds": sending.TIMEOUT_SECONDS,
        "delays": [duration(seconds) for seconds in sending.DELAYS_SECONDS],
        "give_up_days": outbox.GIVE_UP_AFTER.days,
        "most_endpoints": listening.MOST_ENDPOINTS,
        "verifying": [
            Sample(language, label, (PROGRAMS / f"verify_webhook.{suffix}").read_text().rstrip())
            for language, label, suffix in programs
        ],
    }


def duration(seconds: int) -> str:
    """Return 10 as "10 s", 300 as "5 min", 3600 as "1 h"."""
    if seconds < 60:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 3600 else f"{seconds // 3600} h"


def limits(request: HttpRequest) -> dict[str, Any]:
    return {"service": quotas.Limits(), "own": quotas.limits(request.user) if request.user.is_authenticated else None}


def credits(request: HttpRequest) -> dict[str, Any]:
    return {
        "pixel_steps": settings.CREDIT_PIXEL_STEPS,
        "default_image_credits": settings.DEFAULT_IMAGE_CREDITS,
        "welcome_credits": settings.WELCOME_CREDITS,
    }


MORE = {
    "": index,
    "quick-start": quick_start,
    "authentication": authentication,
    "answers": answers,
    "errors": errors,
    "webhooks": webhooks,
    "limits": limits,
    "credits": credits,
}
