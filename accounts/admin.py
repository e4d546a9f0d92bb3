"""Accounts for staff."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.db.models import Model
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from accounts import audit, keys, quotas
from accounts.forms import AddressesField
from accounts.models import ApiKey, LimitFields, Plan, QuotaOverride, User, trust_address

LIMITS = tuple(field.name for field in LimitFields._meta.fields)


class NewUser(UserCreationForm):
    """Creates an account from an e-mail address."""

    class Meta:
        model = User
        fields = ("email",)


class UserForm(UserChangeForm):
    """Changes an account; what staff left alone stays as it is now, not as it was when they opened the page."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.show_hidden_initial = not field.disabled  # the password's is its hash


class KeyInline(TabularInline):
    model = ApiKey
    fields = readonly_fields = ("name", "last_four", "created_at", "last_used_at", "expires_at", "revoked_at")
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def save_changed(row: Model, form: forms.ModelForm) -> None:
    """Save what the form changed and nothing else: the rest of the row may have changed since it was read."""
    columns = {field.name for field in row._meta.concrete_fields}
    row.save(update_fields=columns.intersection(form.changed_data))


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):
    form = UserForm
    add_form = NewUser
    change_password_form = AdminPasswordChangeForm
    ordering = ("-id",)
    list_display: tuple[str, ...] = ("email", "plan", "is_active", "is_staff", "joined_at")
    list_filter: ClassVar[tuple[Any, ...]] = ("plan", "is_active", "is_staff")
    search_fields = ("email",)
    fieldsets = (
        (None, {"fields": ("email", "password", "plan", "time_zone", "joined_at", "last_login")}),
        ("Limits", {"fields": ("used",)}),
        ("Permissions", {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
    )
    readonly_fields = ("used", "joined_at", "last_login")
    add_fieldsets = ((None, {"fields": ("email", "usable_password", "password1", "password2")}),)
    inlines = (KeyInline,)

    @admin.display(description="Used now")
    def used(self, user: User) -> str:
        counted = [one for one in quotas.allowances(user) if one.resets_at]
        return "; ".join(f"{one.name.replace('_', ' ')}: {one.used} of {one.limit or 'any'}" for one in counted)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if change:
            save_changed(obj, form)
        else:
            super().save_model(request, obj, form, change)
        if not change or "email" in form.changed_data:
            trust_address(obj)


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
    actions = ("revoke",)

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
