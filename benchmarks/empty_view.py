"""Empty views that know their caller: what a request costs that does nothing.

They run on the same server, behind the same middleware, with the same keys in the same table.
"""

from typing import Any

from django.urls import path
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.addresses import client_address
from accounts.authentication import InvalidKey, authenticate, is_good, read
from accounts.models import digest
from benchmarks.site import EMPTY_ADDRESS, EMPTY_READING_ADDRESS


class KeyInHeader(BaseAuthentication):
    """Finds the account as the V3 API does."""

    def authenticate(self, request: Request) -> tuple[Any, Any]:
        try:
            key = authenticate(request.headers.get("key"), address=client_address(request._request))
        except InvalidKey:
            raise AuthenticationFailed from None
        return key.user, key


class KeyReadAnew(BaseAuthentication):
    """Finds the account as DRF's own authentication by token does: it reads the row with each request."""

    def authenticate(self, request: Request) -> tuple[Any, Any]:
        hashed = digest(request.headers.get("key", ""))
        key = next((key for key in read(hashed) if is_good(key, hashed)), None)
        if key is None:
            raise AuthenticationFailed
        return key.user, key


class Empty(APIView):
    """Answers nothing."""

    authentication_classes = (KeyInHeader,)
    permission_classes = (IsAuthenticated,)

    def post(self, request: Request) -> Response:
        return Response({})


urlpatterns = [
    path(EMPTY_ADDRESS, Empty.as_view()),
    path(EMPTY_READING_ADDRESS, Empty.as_view(authentication_classes=(KeyReadAnew,))),
]
