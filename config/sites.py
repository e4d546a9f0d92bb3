"""The site's own address."""

from django.conf import settings
from django.http import HttpRequest


def base_url(request: HttpRequest) -> str:
    """Return the address under which the visitor came, unless the operator has named one; no slash at its end."""
    return settings.PUBLIC_URL or request.build_absolute_uri("/").rstrip("/")
