"""One generation: all that is known of it, what it is doing now, and what can be done with it."""

import base64
from dataclasses import asdict
from functools import partial

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from rest_framework.exceptions import ValidationError

from config.login import login_required
from config.sites import base_url
from generation import archive, erasure, retention, samples, services, storage, waiting
from generation import events as watching
from generation import images as formats
from generation.models import Generation
from generation.pages import playground, refusals, shown
from generation.pages.visitor import account_of, own_generation
from generation.storage import FileLost

PRIVATE = "private, max-age=3600"
INPUTS = {"init": "start image", "mask": "mask"}
PLACEHOLDERS = {"init": "YOUR_START_IMAGE", "mask": "YOUR_MASK"}
MEDIA_TYPES = {name: f"image/{name.lower()}" for name in formats.FORMATS}


@login_required
@require_safe
def page(request: HttpRequest, pk: int) -> HttpResponse:
    """Show everything about a generation."""
    generation = own_generation(request, pk)
    context = {
        "generation": generation,
        "params": generation.parameters,
        "images": shown.images(generation),
        "has_start": shown.has_input(generation, "init"),
        "has_mask": shown.has_input(generation, "mask"),
        "stages": shown.stages(generation),
        "deliveries": generation.deliveries.select_related("event").order_by("-pk"),
        "event_days": retention.EVENTS.days,
        "state": None if generation.is_final else watching.state(generation),
        "languages": samples.LABELS,
    }
    return render(request, "generation/generation.html", context)


@login_required
@require_safe
def state(request: HttpRequest, pk: int) -> HttpResponse:
    """Answer what scripts show of a generation, as it is now."""
    response = JsonResponse(shown.description(own_generation(request, pk)))
    response["Cache-Control"] = "no-store"
    return response


@login_required
@require_safe
def events(request: HttpRequest, pk: int) -> HttpResponse:
    """Send the generation's state whenever it changes, until it is over (server-sent events)."""
    state = watching.state(own_generation(request, pk))
    last_id = request.headers.get("Last-Event-ID", "")
    if state.is_final and last_id == state.id:
        return HttpResponse(status=204)  # tells browsers not to ask again
    # Without an ASGI server the answer is the present state, and the browser asks again in a second.
    response = HttpResponse(watching.RETRY + state.as_event(), content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"
    waiting.request_stream(request, partial(watching.watchers.events, pk, last_id))
    return response


@login_required
@require_safe
def code(request: HttpRequest, pk: int) -> HttpResponse:
    """Answer the request that makes this again, as programs in several languages; the start image is in them whole.

    Where it is no longer stored the programs say so, and `lost` names it.
    """
    generation = own_generation(request, pk)
    parameters = {name: value for name, value in generation.params.items() if name != "mode"}
    inputs, lost = kept_inputs(generation)
    for name, image in inputs.items():
        parameters[f"{name}_image"] = image if isinstance(image, str) else base64.b64encode(image).decode()
    for name in lost:
        parameters[f"{name}_image"] = PLACEHOLDERS[name]
    found = samples.samples(base_url(request), generation.mode, parameters)
    return JsonResponse({"samples": [asdict(sample) for sample in found], "lost": [INPUTS[name] for name in lost]})


@login_required
@require_POST
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """End a generation that is not over."""
    services.cancel(own_generation(request, pk).pk)
    return answer(request, own_generation(request, pk))


@login_required
@require_POST
def again(request: HttpRequest, pk: int) -> HttpResponse:
    """Make the same once more, or with another seed."""
    earlier = own_generation(request, pk)
    try:
        data = earlier.params | all_inputs(earlier)
        if request.POST.get("seed") == "random":
            data["seed"] = None
        return answer(request, playground.submit(account_of(request), earlier.mode, data))
    except (ValidationError, *refusals.REFUSALS) as error:
        if not wants_page(request):
            return refusals.respond(error)
        messages.error(request, refusals.words(error))
        return redirect("generation", pk)


def all_inputs(earlier: Generation) -> dict[str, str | bytes]:
    """Return the start image and the mask by the names of their fields.

    Raises:
        ValidationError: one is no longer stored.
    """
    inputs, lost = kept_inputs(earlier)
    if lost:
        words = {name: f"The {INPUTS[name]} is no longer stored: choose one in the playground." for name in lost}
        raise ValidationError({f"{name}_image": [sentence] for name, sentence in words.items()})
    return {f"{name}_image": image for name, image in inputs.items()}


def kept_inputs(earlier: Generation) -> tuple[dict[str, str | bytes], list[str]]:
    """Return the start image and the mask, as they were stored or else the links to them, and which are lost."""
    inputs: dict[str, str | bytes] = {}
    lost = []
    for name in INPUTS:
        stored, url = (getattr(earlier, f"{name}_image_{what}") for what in ("name", "url"))
        if not stored and not url:
            continue
        try:
            inputs[name] = read_input(earlier, name)
        except FileLost:
            if url:
                inputs[name] = url
            else:
                lost.append(name)
    return inputs, lost


def read_input(generation: Generation, name: str) -> bytes:
    """Return the start image ("init") or the mask ("mask").

    Raises:
        FileLost: there is none, or not any more.
    """
    if not shown.has_input(generation, name):
        raise FileLost
    return storage.read_input(getattr(generation, f"{name}_image_name"))


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Delete a generation once that was confirmed; who has lost the form is shown the generation."""
    generation = own_generation(request, pk)
    if request.method != "POST":
        return redirect("generation", pk)
    if request.POST.get("confirmed") != "yes":
        return render(request, "generation/delete.html", {"pks": [pk]})
    erasure.delete(account_of(request), [generation.pk])
    messages.success(request, "The generation was deleted.")
    return redirect("history")


@login_required
@require_safe
def image(request: HttpRequest, pk: int, k: int) -> HttpResponse:
    """Send one image from this site, so that its owner's scripts may read it and browsers save it."""
    generation = own_generation(request, pk)
    if not archive.has_images(generation) or k >= len(generation.nsfw):
        raise Http404
    try:
        response = HttpResponse(storage.read_image(generation, k), content_type="image/png")
    except FileLost as lost:
        raise Http404 from lost
    response["Cache-Control"] = PRIVATE
    kind = "attachment" if "download" in request.GET else "inline"
    response["Content-Disposition"] = f'{kind}; filename="{archive.file_name(generation, k)}"'
    return response


@login_required
@require_safe
def input_image(request: HttpRequest, pk: int, name: str) -> HttpResponse:
    """Send the start image or the mask as it was given."""
    generation = own_generation(request, pk)
    try:
        data = read_input(generation, name)
    except FileLost as lost:
        raise Http404 from lost
    response = HttpResponse(data, content_type=MEDIA_TYPES[formats.read_header(data).format])
    response["Cache-Control"] = PRIVATE
    return response


def wants_page(request: HttpRequest) -> bool:
    return "text/html" in request.headers.get("Accept", "")


def answer(request: HttpRequest, generation: Generation) -> HttpResponse:
    """Lead a browser to the generation's page; tell a script what the generation is."""
    if wants_page(request):
        return redirect("generation", generation.pk)
    return JsonResponse(shown.description(generation))
