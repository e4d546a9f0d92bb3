"""Puts a backup in the place of the site's database and files."""

from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from operations.backups import BackupRefused, restore


class Command(BaseCommand):
    help = "Replaces the database by a backup, and adds its files. Stop the site first, and start it afterwards."
    requires_system_checks: list[str] = []
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path)
        parser.add_argument("--overwrite", action="store_true", help="though there are accounts in the database")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            manifest = restore(options["folder"], options["overwrite"])
        except BackupRefused as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(f"Restored the backup of {manifest['at']}.")
        call_command("check_ledger", stdout=self.stdout)
