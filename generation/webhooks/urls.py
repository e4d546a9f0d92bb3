"""The pages under /webhooks/."""

from django.urls import path

from generation.webhooks import views

urlpatterns = [
    path("", views.overview, name="webhooks"),
    path("<int:pk>/", views.endpoint, name="webhook_endpoint"),
    path("<int:pk>/delete", views.delete, name="webhook_delete"),
    path("<int:pk>/ping", views.ping, name="webhook_ping"),
    path("deliveries/", views.deliveries, name="webhook_deliveries"),
    path("deliveries/<int:pk>/", views.delivery, name="webhook_delivery"),
    path("deliveries/<int:pk>/resend", views.resend, name="webhook_resend"),
    path("secret", views.rotate_secret, name="webhook_secret"),
    path("silenced/<int:pk>", views.hear_again, name="webhook_hear_again"),
]
