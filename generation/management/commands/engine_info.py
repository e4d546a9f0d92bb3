"""Says what a gpu worker would run, where, in which precision, and how fast."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser


class Command(BaseCommand):
    help = "Load the model as a gpu worker does; say what was chosen for this machine, and how long its steps take."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--pixels", type=int, help="width and height to measure; the model's own unless told")

    def handle(self, *args: Any, pixels: int | None, **options: Any) -> None:
        from generation.engine import EngineError, PipelineEngine  # torch: seconds to import, and only for this command
        from generation.engine.measuring import step_seconds, whole_step_seconds
        from generation.worker import load_engine

        if pixels is not None and (pixels < 64 or pixels % 8):
            raise CommandError("--pixels must be a multiple of 8, and at least 64.")
        try:
            engine = load_engine()
        except (EngineError, OSError, RuntimeError, ValueError) as error:  # the last three are the libraries'
            raise CommandError(f"MODEL={settings.MODEL} can't be loaded: {error}") from error
        pixels = pixels or engine.native_pixels
        self.stdout.write(engine.description())
        for name, value in engine.facts().items():
            self.stdout.write(f"{name:>24}  {value}")
        self.stdout.write(f"\nA step of images of {pixels} x {pixels}, with guidance:")
        if isinstance(engine, PipelineEngine):
            self.tell(1, whole_step_seconds(engine, pixels))
            return
        images = 1
        while images <= settings.BATCH_IMAGES:
            self.tell(images, step_seconds(engine, images, pixels))
            images *= 4

    def tell(self, images: int, seconds: float) -> None:
        self.stdout.write(f"{images:>4} at once  {1000 * seconds:8.1f} ms  {1000 * seconds / images:8.1f} ms an image")
