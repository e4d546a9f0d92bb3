"""How fast the workers are: learned from what they made last."""

from django.db.models import F
from django.db.models.expressions import Combinable

from generation.models import Generation, Status

UNKNOWN_SECONDS_PER_CREDIT = 10.0  # before anything was made
RECENT = 50


def seconds_per_credit() -> float:
    """Return what recent work took of an accelerator, a credit being so much work; high, the 90th percentile."""
    return _per_credit(F("accelerator_seconds"))


def passing_seconds_per_credit() -> float:
    """Return how long recent work took from its claim on, beside what was made at the same time; high as well."""
    return _per_credit(F("compute_seconds"))


def _per_credit(seconds: Combinable) -> float:
    recent = Generation.objects.filter(status=Status.SUCCESS).order_by("-id").values_list(seconds / F("held_credits"))
    times = sorted(time for (time,) in recent[:RECENT])
    return times[int(len(times) * 0.9)] if times else UNKNOWN_SECONDS_PER_CREDIT
