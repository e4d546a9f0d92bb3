"""Proves that every balance is the sum of its entries, and that every purchase is in them."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing import ledger, reconciliation
from billing.models import Entry, Wallet


class Command(BaseCommand):
    help = "Prove that balances are the sums of their entries and purchases are in them; exits 1 and says where not."

    def handle(self, *args: Any, **options: Any) -> None:
        found = [*ledger.differences(), *reconciliation.differences()]
        for difference in found:
            self.stderr.write(difference)
        if found:
            raise CommandError(f"{len(found)} differences.")
        self.stdout.write(f"{Wallet.objects.count()} wallets, {Entry.objects.count()} entries: all sums are right.")
