"""What django-allauth asks us: where a request comes from, and how a password is kept."""

from allauth.account.adapter import DefaultAccountAdapter
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest

from accounts.addresses import client_address


class Adapter(DefaultAccountAdapter):
    """Believes our own proxies only, and changes nothing of an account but what it is asked to."""

    def get_client_ip(self, request: HttpRequest) -> str:
        # Where nobody trustworthy names the client, everybody shares one throttle with the peer's.
        return str(client_address(request) or request.META.get("REMOTE_ADDR") or "0.0.0.0")  # noqa: S104

    def set_password(self, user: AbstractBaseUser, password: str) -> None:
        user.set_password(password)
        # Nothing else: hashing takes long, and the account may have been suspended or moved to a plan meanwhile.
        user.save(update_fields=["password"])
