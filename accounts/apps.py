from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        import accounts.audit  # noqa: F401  (connects its receiver)
        from accounts import personal

        personal.register()
