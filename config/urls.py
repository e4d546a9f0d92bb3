"""Every address of the site."""

from allauth.account.decorators import secure_admin_login
from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from django.views.generic import TemplateView
from drf_spectacular.views import SpectacularSwaggerSplitView

from billing.views.stripe_webhook import stripe_webhook
from config.schema import Schema
from office import impersonation, serving
from operations.metrics import metrics

# Staff log in as everybody does: throttled, and with a second factor.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]

urlpatterns = [
    path("account/", include("allauth.urls")),
    path("", include("accounts.urls")),
    path("", include("generation.urls")),
    path("webhooks/", include("generation.webhooks.urls")),
    path("billing/", include("billing.urls")),
    path("stripe/webhook", stripe_webhook, name="stripe_webhook"),
    path("metrics", metrics, name="metrics"),
    path("api/v3/", include("generation.v3.urls")),
    path("docs/", include("generation.v3.handbook.urls")),
    path("api/schema", Schema.as_view(), name="schema"),
    path(
        "api/docs",
        SpectacularSwaggerSplitView.as_view(url_name="schema", template_name="api_docs.html"),
        name="api_docs",
    ),
    path("hijack/acquire/", impersonation.Acquire.as_view()),
    path("hijack/", include("hijack.urls")),
    path("admin/rq/", include("office.queues")),
    path("admin/models/", serving.page, name="served_models"),
    path("admin/", admin.site.urls),
]

if settings.DEBUG:
    samples = {"names": ["cat.jpg", "coffee.jpg", "flower.jpg", "rocket.jpg"]}
    urlpatterns.append(path("design/", TemplateView.as_view(template_name="design.html", extra_context=samples)))
