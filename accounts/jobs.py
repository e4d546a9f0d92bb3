"""What io workers are asked to do for accounts: each job can be done twice without harm."""

from accounts import closing, exports, queue, quotas, sessions


def export(pk: int) -> None:
    """Pack what an account holds."""
    exports.run(pk)


def erase(pk: int) -> None:
    """Let go of what a closed account held."""
    closing.erase(pk)


def sweep() -> None:
    """Begin again what a lost message or a dead worker left behind, and remove what is over (called by the clock)."""
    exports.forget()
    for pk in exports.due():
        queue.enqueue("export", pk)
    queue.enqueue_erasures(closing.due())


def forget_counters() -> None:
    """Remove the counters of what is over (called by the clock every hour)."""
    quotas.forget()


def expire() -> None:
    """Remove what is left over of old (called by the clock every night)."""
    sessions.forget()
    exports.remove_unknown_files()
