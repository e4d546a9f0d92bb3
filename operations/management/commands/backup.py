"""Copies the whole site into a folder."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from operations.backups import BackupRefused, back_up


class Command(BaseCommand):
    help = "Writes database and files into a folder. The site may run meanwhile. Into the same folder, only new files."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            manifest = back_up(options["folder"])
        except BackupRefused as refusal:
            raise CommandError(str(refusal)) from refusal
        files = ", ".join(f"{count} new files of {name}" for name, count in manifest["files"].items())
        self.stdout.write(f"Backed up {manifest['database']}{' and ' if files else ''}{files}.")
