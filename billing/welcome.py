"""Opens a wallet with the welcome credits for every new account, and puts it on the free plan if there is one."""

from typing import Any

from django.conf import settings
from django.db.models.signals import post_save
from django.dispatch import receiver

from accounts.models import User
from billing import ledger, subscriptions


@receiver(post_save, sender=User)
def open_wallet(instance: User, created: bool, raw: bool, **_: Any) -> None:
    """Open the wallet in the transaction that creates the account."""
    if created and not raw:
        ledger.open_wallet(instance.pk, settings.WELCOME_CREDITS)
        subscriptions.welcome(instance)
