from django.apps import AppConfig


class OfficeConfig(AppConfig):
    name = "office"

    def ready(self) -> None:
        import office.impersonation  # noqa: F401  (connects its receivers)
