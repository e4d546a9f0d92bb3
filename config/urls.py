"""Every address of the site."""

import django_rq.urls
from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from billing.views.stripe_webhook import stripe_webhook

urlpatterns = [
    path("", include("generation.urls")),
    path("billing/", include("billing.urls")),
    path("stripe/webhook", stripe_webhook, name="stripe_webhook"),
    path("api/v3/", include("generation.v3.urls")),
    path("api/schema", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs", SpectacularSwaggerView.as_view(url_name="schema"), name="api_docs"),
    path("admin/rq/", include(django_rq.urls)),
    path("admin/", admin.site.urls),
]
