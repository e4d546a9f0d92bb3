"""What a member of staff may see where the rows of several pages come together."""

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest


def may_see(request: HttpRequest, model: type[Model]) -> bool:
    """Return whether the model's own pages would be shown."""
    return admin.site.get_model_admin(model).has_view_permission(request)
