"""Plans, other limits and keys for staff; accounts themselves are in office/people.py."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Model
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from accounts import audit, keys
from accounts.forms import AddressesField
from accounts.models import ApiKey, LimitFields, Plan, QuotaOverride

LIMITS = tuple(field.name for field in LimitFields._meta.fields)


def save_changed(row: Model, form: forms.ModelForm) -> None:
    """Save what the form changed and nothing else: the rest of the row may have changed since it was read."""
    columns = {field.name for field in row._meta.concrete_fields}
    row.save(update_fields=columns.intersection(form.changed_data))


@admin.register(Plan)
class PlanAdmin(ModelAdmin):
    list_display = ("name", "queue_weight", *LIMITS)


@admin.register(QuotaOverride)
class QuotaOverrideAdmin(ModelAdmin):
    """Other limits for one account, until they end by themselves."""

    list_display = ("user", "reason", "ends_at", "created_by", "created_at")
    list_select_related = ("user", "created_by")
    search_fields = ("user__email", "reason")
    autocomplete_fields = ("user",)
    readonly_fields = ("created_by", "created_at")
    fieldsets = (
        (None, {"fields": ("user", "reason", "ends_at", "created_by", "created_at")}),
        ("Limits", {"fields": LIMITS, "description": "An empty limit stays the plan's."}),
    )

    def save_model(self, request: HttpRequest, obj: QuotaOverride, form: Any, change: bool) -> None:
        if not change:
            obj.created_by = request.user  # type: ignore[assignment]  # only staff come here
        super().save_model(request, obj, form, change)


class KeyForm(forms.ModelForm):
    class Meta:
        model = ApiKey
        fields = ("user", "name", "scope", "spending_cap_credits", "allowed_addresses", "expires_at")
        field_classes = {"allowed_addresses": AddressesField}


@admin.register(ApiKey)
class ApiKeyAdmin(ModelAdmin):
    """Keys are made and revoked, never deleted; the secret is shown once, in the message after saving."""

    form = KeyForm
    list_display = ("name", "user", "last_four", "scope", "created_at", "last_used_at", "expires_at", "revoked_at")
    list_select_related = ("user",)
    search_fields = ("user__email", "last_four")
    autocomplete_fields = ("user",)
    actions = ("revoke",)

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return ("user",) if obj else ()  # who has the secret would act as the other account

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if not change:
            messages.warning(request, f"The new key, shown only now: {obj.set_secret()}")
            super().save_model(request, obj, form, change)
        else:
            save_changed(obj, form)

    @admin.action(description="Revoke", permissions=["change"])
    def revoke(self, request: HttpRequest, chosen: Any) -> None:
        live = list(chosen.live())
        for key in live:
            keys.revoke(key)
            audit.note(key, revoked=("no", "yes"))
        messages.success(request, f"{len(live)} keys were revoked.")

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return False
