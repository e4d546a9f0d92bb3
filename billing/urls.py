"""The addresses of billing's pages, below /billing/."""

from typing import Any

app_name = "billing"
urlpatterns: list[Any] = []
