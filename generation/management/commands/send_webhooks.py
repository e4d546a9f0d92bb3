"""Sends webhooks until it is stopped; any number may run."""

import signal
from typing import Any

from django.core.management.base import BaseCommand

from generation.webhooks.sending import Sender


class Command(BaseCommand):
    help = "Sends webhooks that are due, until it is stopped."

    def handle(self, *args: Any, **options: Any) -> None:
        sender = Sender()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: sender.stop())
        sender.run()
