"""Proves that every balance is the sum of its entries."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing import ledger
from billing.models import Entry, Wallet


class Command(BaseCommand):
    help = "Prove that every balance is the sum of its entries; exits 1 and says where if one is not."

    def handle(self, *args: Any, **options: Any) -> None:
        found = list(ledger.differences())
        for difference in found:
            self.stderr.write(difference)
        if found:
            raise CommandError(f"{len(found)} differences.")
        self.stdout.write(f"{Wallet.objects.count()} wallets, {Entry.objects.count()} entries: all sums are right.")
