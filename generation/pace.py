"""How fast the workers are: learned from what they made last, and rather slow than fast, the 90th percentile."""

from dataclasses import dataclass

from generation.models import Generation, Status

UNKNOWN_SECONDS_PER_CREDIT = 10.0  # before anything was made
RECENT = 50


@dataclass(frozen=True)
class Pace:
    """Seconds a credit, which is a fixed amount of work."""

    computing_seconds: float  # of an accelerator
    passing_seconds: float  # from the claim to the image, beside what is made at the same time


def recent() -> Pace:
    """Return the pace of the last generations that succeeded."""
    newest = Generation.objects.filter(status=Status.SUCCESS).order_by("-id")
    rows = list(newest.values_list("accelerator_seconds", "compute_seconds", "held_credits")[:RECENT])
    if not rows:
        return Pace(UNKNOWN_SECONDS_PER_CREDIT, UNKNOWN_SECONDS_PER_CREDIT)
    return Pace(_high([row[0] / row[2] for row in rows]), _high([row[1] / row[2] for row in rows]))


def _high(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.9)]
