"""The address of the OpenAPI description."""

from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework.request import Request
from rest_framework.response import Response


class Schema(SpectacularAPIView):
    """Serves the one version there is, in the one language, whatever the query asks for.

    drf-spectacular would write any version into a header, and keep a translation for each language that is named.
    """

    @extend_schema(exclude=True)
    def get(self, request: Request) -> Response:
        return self._get_schema_response(request)

    def _get_version_parameter(self, request: Request) -> None:
        return None
