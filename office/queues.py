"""RQ's own pages of queues and workers, for staff who have its right: whoever stops a job there stops a generation."""

import django_rq.urls
from django.contrib import admin
from django.contrib.auth.decorators import permission_required
from django.urls import URLPattern

app_name = "django_rq"

with_right = permission_required("django_rq.admin", raise_exception=True)
urlpatterns = [
    URLPattern(page.pattern, admin.site.admin_view(with_right(page.callback)), page.default_args, page.name)
    for page in django_rq.urls.urlpatterns
]
