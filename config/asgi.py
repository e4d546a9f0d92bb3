"""The web application."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django_application = get_asgi_application()

from generation.waiting import Waiting  # noqa: E402  (models need Django to be set up first)

application = Waiting(django_application)  # type: ignore[arg-type] # Django's own types are narrower
