"""The site's own address; no slash at its end."""

from django.conf import settings
from django.http import HttpRequest


def base_url(request: HttpRequest) -> str:
    """Return the address under which the visitor came, unless the operator has named one."""
    return settings.PUBLIC_URL or request.build_absolute_uri("/").rstrip("/")


def site_url() -> str:
    """Return the address for texts that are written where there is no request."""
    return settings.PUBLIC_URL or f"http://127.0.0.1:{settings.PORT}"
