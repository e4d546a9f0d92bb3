"""Compares Stripe with our ledger."""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from billing import gateway
from billing.reconciliation import reconcile

MOST_DAYS = 3650


class Command(BaseCommand):
    help = "List what Stripe's recent payments, invoices, refunds and disputes say and our ledger lacks, or repair it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--repair", action="store_true", help="put right what differs; safe to repeat")
        parser.add_argument("--days", type=int, default=4, help="how far to look back (4)")

    def handle(self, *args: Any, **options: Any) -> None:
        if not gateway.is_on():
            raise CommandError("Card payments are off: STRIPE_SECRET_KEY is not set.")
        if not 1 <= options["days"] <= MOST_DAYS:
            raise CommandError(f"--days must be from 1 to {MOST_DAYS}.")
        open_findings = 0
        since = timezone.now() - timedelta(days=options["days"])
        try:
            for finding in reconcile(since, options["repair"]):
                open_findings += not finding.is_repaired
                self.stdout.write(f"{finding.about}: {finding.words}{' (repaired)' if finding.is_repaired else ''}")
        except gateway.GatewayUnavailable as error:
            raise CommandError(f"Stripe does not answer, so this is not all: {error}") from error
        if open_findings:
            raise CommandError(f"{open_findings} differences. Run it again with --repair.")
        self.stdout.write("Our ledger says what Stripe says.")
