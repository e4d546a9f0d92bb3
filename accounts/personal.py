"""What accounts themselves hold of a person."""

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession

from accounts.holdings import Holding, holdings
from accounts.models import ApiKey, KeySpending, QuotaOverride, Usage, User

SECRETS = frozenset({"password", "webhook_secret", "previous_webhook_secret"})


def register() -> None:
    holdings.extend(
        [
            Holding("account", lambda user: User.objects.filter(pk=user.pk), SECRETS),
            Holding("email_addresses", lambda user: EmailAddress.objects.filter(user=user)),
            Holding("second_factors", lambda user: Authenticator.objects.filter(user=user), frozenset({"data"})),
            Holding("sessions", lambda user: UserSession.objects.filter(user=user), frozenset({"session_key"})),
            Holding("keys", lambda user: ApiKey.objects.filter(user=user), frozenset({"digest", "previous_digest"})),
            Holding("key_spending", lambda user: KeySpending.objects.filter(api_key__user=user)),
            Holding("counters", lambda user: Usage.objects.filter(user=user)),
            Holding("limits", lambda user: QuotaOverride.objects.filter(user=user), frozenset({"created_by_id"})),
        ]
    )
