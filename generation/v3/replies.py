"""The V3 dialect's answers about a generation, and its webhook bodies."""

from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils import timezone

from accounts import quotas
from accounts.models import ApiKey
from billing import ledger
from config.sites import site_url
from generation import estimate, storage
from generation.models import LIVE, Event, Generation, Status
from generation.serving import served_model

TIP = "Your image is processing in background, you can get this image using fetch API"
JUST_QUEUED = "Try to fetch request after seconds estimated"
STILL_RUNNING = "Request processing"


def answer(generation: Generation, base_url: str, note: str = STILL_RUNNING) -> dict[str, Any]:
    """Return the answer for the generation's present state; `base_url` has no slash at its end."""
    if generation.status == Status.SUCCESS:
        return success(generation, base_url)
    if generation.is_final:
        return failed(generation)
    return processing(generation, base_url, note, estimate.eta_seconds(generation))


def promise(generation: Generation, base_url: str, note: str, at: datetime) -> dict[str, Any]:
    """Return the answer for a generation that is not over as far as anybody knows, with what was estimated for it."""
    return processing(generation, base_url, note, estimate.promised_seconds(generation, at))


def success(generation: Generation, base_url: str) -> dict[str, Any]:
    return (
        with_track_id(generation)
        | reproduction(generation)
        | {
            "status": "success",
            "generationTime": round(generation.compute_seconds, 4),
            "id": generation.pk,
            "output": output(generation, base_url),
            "nsfw_content_detected": generation.nsfw,
            "credits_charged": generation.charged_credits,
            "credits_remaining": ledger.balance(generation.account_id),
            "meta": meta(generation),
        }
    )


def processing(generation: Generation, base_url: str, note: str, eta_seconds: float) -> dict[str, Any]:
    return with_track_id(generation) | {
        "status": "processing",
        "tip": TIP,
        "eta": round(eta_seconds, 4),
        "messege": note,  # (sic): clients read this spelling
        "message": note,
        "fetch_result": f"{base_url}/api/v3/fetch/{generation.pk}",
        "id": generation.pk,
        "output": [],
        "future_links": links(generation, base_url),
        "meta": meta(generation),
    }


def failed(generation: Generation) -> dict[str, Any]:
    return with_track_id(generation) | {
        "status": "failed",
        "id": generation.pk,
        "message": generation.message,
        "output": [],
    }


def canceled(generation: Generation) -> dict[str, Any]:
    """Return the answer to a caller that canceled."""
    return with_track_id(generation) | {
        "status": "success",
        "id": generation.pk,
        "message": "Canceled; nothing was charged.",
        "output": [],
    }


def account(key: ApiKey, limits: quotas.Limits) -> dict[str, Any]:
    """Return what the key's account may do, and how much of it is used."""
    user = key.user
    allowances = quotas.allowances(user, Generation.objects.filter(account=user, status__in=LIVE).count(), limits)
    return {
        "status": "success",
        "email": user.email,
        "plan": user.plan.name if user.plan else None,
        "time_zone": user.time_zone,
        "balance": ledger.balance(user.pk),
        "limits": asdict(limits),
        "used": {allowance.name: allowance.used for allowance in allowances},
        "resets_at": {one.name: one.resets_at.isoformat() for one in allowances if one.resets_at},
        "key": key_account(key),
    }


def key_account(key: ApiKey) -> dict[str, Any]:
    spending = quotas.spending(key)
    return {
        "name": key.name,
        "spending_cap_credits": spending.limit,
        "spent_credits": spending.used,
        "resets_at": spending.resets_at.isoformat() if spending.resets_at else None,
    }


def rate_headers(rate: quotas.Allowance) -> dict[str, str]:
    """Return the usual headers about the requests of this minute, none when they are not limited."""
    if rate.limit is None or rate.resets_at is None:
        return {}
    seconds = max(1, round((rate.resets_at - timezone.now()).total_seconds()))
    facts = {"Limit": rate.limit, "Remaining": rate.remaining, "Reset": seconds}
    return {f"{prefix}RateLimit-{name}": str(fact) for prefix in ("", "X-") for name, fact in facts.items()}


def event_list(events: list[Event], cursor: int, has_more: bool) -> dict[str, Any]:
    """Return a page of events as endpoints are told them, and the cursor after which the next page begins."""
    return {
        "status": "success",
        "events": [event.head | {"data": event.content} for event in events],
        "cursor": events[-1].pk if events else cursor,
        "has_more": has_more,
    }


def webhook_body(generation: Generation) -> dict[str, Any]:
    """Return what a caller's server is told about the generation's present state."""
    body = answer(generation, site_url())
    return body | {"track_id": generation.track_id}


def reproduction(generation: Generation) -> dict[str, Any]:
    """Return what came of making another one again, for one that does; the difference is of 255."""
    if generation.reproduces_id is None:
        return {}
    of, difference = generation.reproduces_id, generation.largest_difference
    return {"reproduction": {"of": of, "largest_difference": difference}}


def with_track_id(generation: Generation) -> dict[str, Any]:
    return {} if generation.track_id is None else {"track_id": generation.track_id}


def output(generation: Generation, base_url: str) -> list[str]:
    """Return a link for each image, or its base64 text where the site answers it inline and still has it."""
    if generation.params["base64"] and settings.V3_INLINE_BASE64:
        with suppress(storage.FileLost):
            return [storage.read_base64(generation, k) for k in range(generation.params["samples"])]
    return links(generation, base_url)


def links(generation: Generation, base_url: str) -> list[str]:
    urls = [storage.url(generation, k, generation.params["base64"]) for k in range(generation.params["samples"])]
    return [base_url + url if url.startswith("/") else url for url in urls]


def meta(generation: Generation) -> dict[str, Any]:
    """Return the parameters in the dialect's own words and types."""
    params = generation.parameters
    facts: dict[str, Any] = {
        "H": params.height,
        "W": params.width,
        "enable_attention_slicing": "true",
        "file_prefix": str(generation.file_prefix),
        "guidance_scale": params.guidance_scale,
        "model": generation.model or served_model(),
        "n_samples": params.samples,
        "negative_prompt": params.full_negative_prompt,
        "outdir": "out",
        "prompt": params.full_prompt,
        "revision": generation.model_revision,
        "safetychecker": yes_no(params.safety_checker),
        "safety_checker": yes_no(params.safety_checker),
        "seed": params.seed,
        "seeds": params.seeds,
        "steps": params.num_inference_steps,
        "vae": generation.vae,
        "credits_charged": generation.charged_credits,
    }
    if params.mode != "text2img":
        facts |= {"init_image": generation.init_image_url or None, "strength": params.strength}
    if params.mode == "inpaint":
        facts |= {"mask_image": generation.mask_image_url or None}
    return facts


def yes_no(switch: bool) -> str:
    return "yes" if switch else "no"
