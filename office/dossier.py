"""Everything that is known of a person, as far as the reader has the right to see it."""

from dataclasses import dataclass
from typing import TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounts import quotas
from accounts.models import ApiKey, QuotaOverride, User
from accounts.quotas import Allowance, Limits
from billing.models import Entry, Purchase, Subscription, TopUp, Wallet
from generation import services
from generation.models import Generation
from office.rights import may_see

RECENT = 10

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True)
class Dossier:
    """What is known of a person; None stands for rows that the reader may not see."""

    user: User
    limits: Limits
    allowances: list[Allowance]
    wallets: list[Wallet] | None  # one
    subscriptions: list[Subscription] | None  # the live one, or none
    top_ups: list[TopUp] | None  # one, once it was turned on
    overrides: list[QuotaOverride] | None
    api_keys: list[ApiKey] | None
    generations: list[Generation] | None
    entries: list[Entry] | None
    purchases: list[Purchase] | None


def dossier(request: HttpRequest, user: User) -> Dossier:
    """Gather what the member of staff behind the request may see of an account."""

    def seen(rows: QuerySet[Row]) -> list[Row] | None:
        return list(rows) if may_see(request, rows.model) else None

    subscriptions = Subscription.objects.filter(user=user, status__in=Subscription.LIVE).select_related("offer__plan")
    return Dossier(
        user=user,
        limits=quotas.limits(user),
        allowances=quotas.allowances(user, services.live(user)),
        wallets=seen(Wallet.objects.filter(user=user)),
        subscriptions=seen(subscriptions.order_by("-created_at")[:1]),
        top_ups=seen(TopUp.objects.filter(user=user)),
        overrides=seen(QuotaOverride.objects.filter(user=user, ends_at__gt=timezone.now()).order_by("-pk")),
        api_keys=seen(ApiKey.objects.filter(user=user).order_by("-pk")[: 3 * RECENT]),
        generations=seen(Generation.objects.filter(account=user).order_by("-pk")[:RECENT]),
        entries=seen(Entry.objects.filter(wallet_id=user.pk).order_by("-pk")[:RECENT]),
        purchases=seen(Purchase.objects.filter(user=user).order_by("-created_at")[:RECENT]),
    )
