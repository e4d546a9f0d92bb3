"""The addresses of the pages about keys and about one's own account."""

from django.urls import path

from accounts.views import keys

urlpatterns = [
    path("keys/", keys.index, name="keys"),
    path("keys/new/", keys.new, name="new_key"),
    path("keys/<int:pk>/", keys.edit, name="key"),
    path("keys/<int:pk>/rotate/", keys.rotate, name="rotate_key"),
    path("keys/<int:pk>/revoke/", keys.revoke, name="revoke_key"),
]
