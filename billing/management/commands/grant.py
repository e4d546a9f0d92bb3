"""Gives credits to an account."""

import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import User
from billing import ledger

MOST_CREDITS = 1_000_000_000  # as in the admin
MOST_CHARACTERS = 190  # of a cause and a reason, as the ledger keeps them


class Command(BaseCommand):
    help = "Give credits to an account."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("credits", type=int)
        parser.add_argument("--reason", default="Granted by staff", help="shown in the account's history")
        parser.add_argument("--cause", help="a name for this grant: the same name grants once, however often it is run")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(email=options["email"].strip().lower()).first()
        if user is None:
            raise CommandError(f"There is no account {options['email']}.")
        if not 0 < options["credits"] <= MOST_CREDITS:
            raise CommandError(f"Credits must be a whole number from 1 to {MOST_CREDITS:,}.")
        if max(len(options["cause"] or ""), len(options["reason"])) > MOST_CHARACTERS:
            raise CommandError(f"A cause and a reason may have at most {MOST_CHARACTERS} characters.")
        cause = f"grant:{options['cause'] or uuid.uuid4()}"
        if ledger.grant(user.pk, options["credits"], cause, options["reason"]):
            self.stdout.write(f"Granted {options['credits']} credits; the balance is {ledger.balance(user.pk)}.")
        else:
            self.stdout.write(f"Nothing was done: {cause} had been granted before.")
