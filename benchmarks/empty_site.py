"""Serves the site with the empty views beside it: python -m benchmarks.empty_site --port 8000."""

from config import serve

if __name__ == "__main__":
    serve.main("benchmarks.empty_site:application")
else:
    from config.asgi import application  # noqa: F401  (first: Django must be set up)
    from config.urls import urlpatterns

    from benchmarks import empty_view  # isort: skip

    urlpatterns += empty_view.urlpatterns
