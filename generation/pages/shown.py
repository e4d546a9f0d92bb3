"""What pages show of a generation."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.urls import reverse

from billing import ledger
from generation import archive, events, storage
from generation.models import Generation


@dataclass(frozen=True)
class ShownImage:
    """One image of a generation."""

    number: int  # from 1
    seed: int
    blanked: bool  # the safety checker replaced it
    url: str  # the one that the API answers
    thumbnail_url: str
    own_url: str  # on this site, for the owner alone: scripts may read it, and browsers save it
    file_name: str


def images(generation: Generation) -> list[ShownImage]:
    """Return the images that there are."""
    if not archive.has_images(generation):
        return []
    return [
        ShownImage(
            number=k + 1,
            seed=seed,
            blanked=blanked,
            url=storage.url(generation, k, as_base64=False),
            thumbnail_url=storage.thumbnail_url(generation, k),
            own_url=reverse("generation_image", args=[generation.pk, k]),
            file_name=archive.file_name(generation, k),
        )
        for k, (seed, blanked) in enumerate(zip(generation.parameters.seeds, generation.nsfw, strict=False))
    ]


def has_input(generation: Generation, name: str) -> bool:
    """Tell whether the start image ("init") or the mask ("mask") can be shown."""
    gone = generation.files_removed_at or generation.inputs_expired_at
    return bool(getattr(generation, f"{name}_image_name", "")) and gone is None


def description(generation: Generation) -> dict[str, Any]:
    """Return everything that the playground's scripts show of a generation."""
    state = events.state(generation)
    addresses = {
        name: reverse(f"generation_{name}", args=[generation.pk])
        for name in ("events", "state", "cancel", "again", "code")
    }
    return {
        "id": generation.pk,
        "status": generation.status,
        "message": generation.message,
        "step": state.step,
        "steps": state.steps,
        "eta_seconds": state.eta_seconds,
        "params": generation.params,
        "images": [asdict(image) for image in images(generation)],
        "start_image": reverse("generation_input", args=[generation.pk, "init"])
        if has_input(generation, "init")
        else "",
        "charged_credits": generation.charged_credits,
        "balance_credits": ledger.balance(generation.account_id),
        "seconds": round(generation.compute_seconds, 2),
        "address": reverse("generation", args=[generation.pk]),
        "addresses": addresses,
    }


@dataclass(frozen=True)
class Stage:
    """One part of the time between submission and end."""

    name: str
    seconds: float
    share: float  # of the whole, in percent
    begins: float  # the same

    @property
    def kind(self) -> str:
        """The first word of the name, for style sheets."""
        return self.name.partition(" ")[0]


def stages(generation: Generation) -> list[Stage]:
    """Return how long a finished generation waited, was computed, and so on; an empty list before that."""
    instants: list[tuple[str, datetime | None]] = [
        ("fetching the start image", generation.fetched_at),
        ("waiting for a worker", generation.started_at),
        ("computing", generation.computed_at),
        ("storing", generation.finished_at),
    ]
    if generation.finished_at is None:
        return []
    whole = max((generation.finished_at - generation.created_at).total_seconds(), 0.001)
    found, last = [], generation.created_at
    for name, at in instants:
        if at is None or at < last:
            continue
        begins, seconds = (last - generation.created_at).total_seconds(), (at - last).total_seconds()
        found.append(Stage(name, seconds, 100 * seconds / whole, 100 * begins / whole))
        last = at
    return found
