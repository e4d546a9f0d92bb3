"""How fast the workers are: learned from what they made last."""

from generation.models import Generation, Status

UNKNOWN_SECONDS_PER_CREDIT = 10.0  # before anything was made
RECENT = 50


def seconds_per_credit() -> float:
    """Return the 90th percentile of recent computing times, a credit being a fixed amount of work."""
    recent = (
        Generation.objects.filter(status=Status.SUCCESS).order_by("-id").values_list("compute_seconds", "held_credits")
    )
    times = sorted(seconds / credits for seconds, credits in recent[:RECENT])
    return times[int(len(times) * 0.9)] if times else UNKNOWN_SECONDS_PER_CREDIT
