"""The Content-Security-Policy: one for every page, and by path what pages that are not ours can't do without."""

from csp.middleware import CSPMiddleware, PolicyParts
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase


class ContentSecurityPolicy(CSPMiddleware):
    """Adds settings.CSP_EXCEPTIONS to the policy of the addresses below them."""

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        for prefix, directives in settings.CSP_EXCEPTIONS.items():
            if request.path.startswith(prefix):
                parts.update = {**directives, **(parts.update or {})}
        return parts
