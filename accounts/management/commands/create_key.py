"""Makes an API key for an account."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import ApiKey, User

MOST_CHARACTERS = ApiKey._meta.get_field("name").max_length or 0


class Command(BaseCommand):
    help = "Make an API key for an account and print it, once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--name", default="default")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(email=options["email"].strip().lower()).first()
        if user is None:
            raise CommandError(f"There is no account {options['email']}.")
        name = options["name"].strip()
        if not 0 < len(name) <= MOST_CHARACTERS:
            raise CommandError(f"A key's name must have 1 to {MOST_CHARACTERS} characters.")
        _, secret = ApiKey.create(user, name)
        self.stdout.write(secret)
