"""What django-allauth asks us: where a request comes from, for its throttles and its list of sessions."""

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest

from accounts.addresses import client_address


class Adapter(DefaultAccountAdapter):
    """Believes our own proxies only."""

    def get_client_ip(self, request: HttpRequest) -> str:
        # Where nobody trustworthy names the client, everybody shares one throttle with the peer's.
        return str(client_address(request) or request.META.get("REMOTE_ADDR") or "0.0.0.0")  # noqa: S104
