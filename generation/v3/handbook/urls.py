"""The addresses of the documentation, below /docs/."""

from django.urls import path

from generation.v3.handbook import pages
from generation.v3.handbook.reference import NAMES

urlpatterns = [
    *(path(f"{name}/" if name else "", pages.page, {"name": name}, name=f"docs_{name}") for name in pages.PAGES),
    *(path(f"endpoints/{pages.slug(name)}/", pages.endpoint, {"name": name}) for name in NAMES),
    path("postman.json", pages.postman_collection, name="docs_postman"),
]
