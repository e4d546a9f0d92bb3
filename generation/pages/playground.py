"""The playground: a generation made by hand, under the same rules and prices as one that a program makes."""

from dataclasses import asdict, replace
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from rest_framework.exceptions import ValidationError

from accounts import quotas
from accounts.models import User
from billing import ledger
from config.login import login_required
from generation import history, pricing, requests, services, storage
from generation.models import Generation
from generation.pages import refusals, shown
from generation.pages.visitor import account_of
from generation.params import Params
from generation.samples import LABELS

SAMPLES = {
    "cat.jpg": "a cat",
    "coffee.jpg": "a cup of coffee",
    "flower.jpg": "a flower",
    "rocket.jpg": "a rocket",
    "doodle-house.png": "a drawing of a house",
    "doodle-face.png": "a drawing of a face",
}
MODES = {"img2img": "From an image", "text2img": "From words", "inpaint": "Repaint a part"}
START = Params(mode="img2img", prompt="", seed=0, num_inference_steps=31, strength=0.7)


@login_required
@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Show the form, filled in from an earlier generation when one is named; `vary` leaves its seed out."""
    account = account_of(request)
    earlier = earlier_one(account, request.GET.get("from", ""))
    return render(request, "generation/playground.html", context(account, earlier, "vary" not in request.GET))


def context(account: User, earlier: Generation | None, keeps_seed: bool = True) -> dict[str, Any]:
    limits = quotas.limits(account)
    side = limits.largest_side_pixels // 8 * 8
    params = earlier.parameters if earlier else replace(START, width=min(512, side), height=min(512, side))
    return {
        "params": params,
        "seed": params.seed if earlier and keeps_seed else "",
        "limits": asdict(limits) | {"side": side},
        "modes": MODES,
        "samples": SAMPLES,
        "languages": LABELS,
        "earlier": shown.description(earlier) if earlier else None,
        "start_image": input_address(earlier, "init"),
        "mask_image": input_address(earlier, "mask"),
        "balance": ledger.balance(account.pk),
        "price": pricing.credits(params),
    }


def earlier_one(account: User, wanted: str) -> Generation | None:
    """Return the account's own generation of that id, if there is one."""
    if not (wanted.isascii() and wanted.isdecimal() and len(wanted) <= 18):
        return None
    return history.own(account).filter(pk=int(wanted)).first()


def input_address(generation: Generation | None, name: str) -> str:
    if generation is None or not shown.has_input(generation, name):
        return ""
    return reverse("generation_input", args=[generation.pk, name])


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def make(request: HttpRequest) -> HttpResponse:
    """Submit what the form says; a script gets the generation, a browser without one its page."""
    if request.method != "POST":
        return redirect("playground")
    wants_page = "text/html" in request.headers.get("Accept", "")
    account = account_of(request)
    try:
        generation = submit(account, request.POST.get("mode", ""), sent(request))
    except (ValidationError, *refusals.REFUSALS) as error:
        if not wants_page:
            return refusals.respond(error)
        facts = {"errors": error.detail} if isinstance(error, ValidationError) else {"refusal": refusals.explain(error)}
        status = 400 if isinstance(error, ValidationError) else refusals.explain(error).status
        filled_in = context(account, None) | typed(request.POST) | facts
        return render(request, "generation/playground.html", filled_in, status=status)
    if wants_page:
        return redirect("generation", generation.pk)
    return JsonResponse(shown.description(generation), status=201)


def typed(form: QueryDict) -> dict[str, Any]:
    """Return what the person wrote, as the template takes it, so that nothing has to be written again."""
    words = asdict(START) | {name: value for name, value in form.items() if name in Params.__dataclass_fields__}
    switches = {name: form.get(name) == "yes" for name in ("enhance_prompt", "safety_checker")}
    return {"params": words | switches, "seed": form.get("seed", "")}


@login_required
@require_POST
def price(request: HttpRequest) -> HttpResponse:
    """Answer what the form would cost as it stands, and what is wrong with it so far."""
    account = account_of(request)
    try:
        fields = rules(account, request.POST.get("mode", ""), request.POST.dict())
        for name in requests.UNPRICED:
            fields.fields.pop(name, None)
        fields.is_valid(raise_exception=True)
    except ValidationError as error:
        return refusals.respond(error)
    params = Params(**{"mode": fields.mode, "prompt": "", **fields.validated_data, "seed": 0})
    credits, balance = pricing.credits(params), ledger.balance(account.pk)
    return JsonResponse({"credits": credits, "balance_credits": balance, "steps": pricing.steps(params)})


def rules(account: User, mode: str, data: dict[str, Any]) -> requests.TextToImage:
    """Return the rules for what is asked, not yet applied.

    Raises:
        ValidationError: there is no such mode.
    """
    if mode not in requests.MODES:
        raise ValidationError({"mode": ["Choose what to begin with."]})
    return requests.MODES[mode](data=data, context=asdict(quotas.limits(account)))


def submit(account: User, mode: str, data: dict[str, Any]) -> Generation:
    """Make a generation of the account's, if the rules, its credits and its limits allow it.

    Raises:
        ValidationError, and what services.submit raises: nothing was written.
    """
    fields = rules(account, mode, data)
    fields.is_valid(raise_exception=True)
    values = fields.validated_data
    with storage.kept_inputs(values.get("init_image"), values.get("mask_image")) as inputs:
        return services.submit(account, fields.params(), inputs)


def sent(request: HttpRequest) -> dict[str, Any]:
    """Return the form's fields, with the bytes of the files that came with it."""
    files = {name: file.read() for name in requests.IMAGES if (file := request.FILES.get(name))}
    return {name: value for name, value in request.POST.items() if name not in requests.IMAGES} | files
