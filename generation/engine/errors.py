"""What the engine refuses, one exception per condition."""


class EngineError(Exception):
    """Root of everything the engine itself raises."""


class Canceled(EngineError):
    """Raised by a caller's `on_step` to leave the denoising loop."""


class UnsupportedModel(EngineError):
    """The checkpoint is none that this engine can run."""


class UnsupportedRequest(EngineError):
    """The model can't do what is asked of it; the message is for those who asked."""


class UnknownScheduler(EngineError):
    """No scheduler goes by this name."""

    def __init__(self, name: str):
        super().__init__(f"Unknown scheduler {name!r}.")


class OutOfMemory(EngineError):
    """The device has no room for this request, even with tiling on."""


class BrokenLatents(EngineError):
    """The model returned NaN or infinity, so there is no image to show."""
