"""The addresses of the pages about keys and about one's own account."""

from django.urls import path

from accounts.views import data, keys, preferences

urlpatterns = [
    path("account/preferences/", preferences.preferences, name="preferences"),
    path("account/data/", data.index, name="data"),
    path("account/data/export/", data.export, name="export_data"),
    path("account/data/export/<int:pk>/", data.progress, name="export"),
    path("account/data/export/<int:pk>/<int:number>/", data.download, name="download_export"),
    path("account/close/", data.close, name="close_account"),
    path("keys/", keys.index, name="keys"),
    path("keys/new/", keys.new, name="new_key"),
    path("keys/<int:pk>/", keys.edit, name="key"),
    path("keys/<int:pk>/rotate/", keys.rotate, name="rotate_key"),
    path("keys/<int:pk>/revoke/", keys.revoke, name="revoke_key"),
]
