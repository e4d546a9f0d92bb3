from django.apps import AppConfig


class BillingConfig(AppConfig):
    name = "billing"

    def ready(self) -> None:
        import billing.top_ups
        import billing.welcome  # noqa: F401  (both connect their receivers)
        from billing import holdings

        holdings.register()
