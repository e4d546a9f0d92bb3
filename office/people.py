"""One person on one page: balance, plan, use, keys, payments and work, with what staff may do about them."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.core.exceptions import PermissionDenied
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.views.decorators.http import require_POST
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm

from accounts import audit, keys
from accounts.admin import save_changed
from accounts.models import ApiKey, User, trust_address
from billing import ledger
from billing.models import Wallet
from office.dossier import dossier
from office.forms import CreditsForm, NewUser, SuspensionForm, UserForm
from office.impersonation import may_impersonate
from office.rights import may_see

RIGHTS = ("is_staff", "is_superuser", "groups", "user_permissions")


@admin.register(User)
class PersonAdmin(UserAdmin, ModelAdmin):
    """The account's fields, below everything that is known of it."""

    change_form_outer_before_template = "office/_dossier.html"
    form = UserForm
    add_form = NewUser
    change_password_form = AdminPasswordChangeForm
    ordering = ("-id",)
    list_display = ("email", "plan", "balance", "suspended", "is_staff", "joined_at")
    list_filter = ("plan", ("suspended_at", admin.EmptyFieldListFilter), "is_active", "is_staff")
    list_select_related = ("plan", "wallet")
    search_fields = ("email",)
    fieldsets = (
        (None, {"fields": ("email", "password", "plan", "time_zone", "joined_at", "last_login")}),
        ("Permissions", {"fields": ("is_active", *RIGHTS)}),
    )
    readonly_fields = ("joined_at", "last_login")
    add_fieldsets = ((None, {"fields": ("email", "usable_password", "password1", "password2")}),)

    @admin.display(description="Credits", ordering="wallet__balance")
    def balance(self, user: User) -> str:
        wallet: Wallet = user.wallet  # every account has one
        return f"{wallet.balance:,}"

    @admin.display(description="Suspended", ordering="suspended_at", empty_value="")
    def suspended(self, user: User) -> str | None:
        return f"since {user.suspended_at:%-d %b %Y}" if user.suspended_at else None

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        columns = super().get_list_display(request)
        return [name for name in columns if name != "balance" or may_see(request, Wallet)]

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        """Let superusers alone give rights: who could give them could take them too."""
        fixed = super().get_readonly_fields(request, obj)
        return fixed if request.user.is_superuser else (*fixed, *RIGHTS)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Keep accounts of staff to superusers: a new password or address would lend the account's rights."""
        has_rights = obj is not None and (obj.is_staff or obj.is_superuser)
        return super().has_change_permission(request, obj) and (request.user.is_superuser or not has_rights)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False  # its money must stay explained: an account is suspended, or closed by its owner

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Tell no secret letter by letter by who is left in the list; Django sees to the password's hash."""
        return "webhook_secret" not in lookup and super().lookup_allowed(lookup, value, request)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if change:
            save_changed(obj, form)
        else:
            super().save_model(request, obj, form, change)
        if not change or "email" in form.changed_data:
            trust_address(obj)

    def get_urls(self) -> list[Any]:
        pages = {
            "credits": self.move_credits,
            "suspend": self.suspend,
            "reinstate": require_POST(self.reinstate),
            "revoke_keys": require_POST(self.revoke_keys),
        }
        own = [
            path(f"<int:pk>/{name}/", self.admin_site.admin_view(view), name=f"accounts_user_{name}")
            for name, view in pages.items()
        ]
        return [*own, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        user = self.get_object(request, object_id)
        context = extra_context or {}
        if isinstance(user, User):
            context |= {
                "dossier": dossier(request, user),
                "may_change": self.has_change_permission(request, user),
                "may_limit": request.user.has_perm("accounts.add_quotaoverride"),
                "may_move_credits": request.user.has_perm("billing.add_entry"),
                "may_impersonate": may_impersonate(hijacker=request.user, hijacked=user),  # type: ignore[arg-type]
            }
        return super().change_view(request, object_id, form_url, context)

    def move_credits(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Give or take credits: one entry of the ledger, with the reason."""
        user = get_object_or_404(User, pk=pk)
        if not (self.has_view_permission(request, user) and request.user.has_perm("billing.add_entry")):
            raise PermissionDenied
        form = CreditsForm(request.POST or None)
        if not form.is_valid():
            return self.form_page(request, user, form, "Give or take credits", "Move the credits")
        credits, reason = form.cleaned_data["credits"], form.cleaned_data["reason"]
        before = ledger.balance(user.pk)
        move = ledger.grant if credits > 0 else ledger.take_back
        if move(user.pk, abs(credits), f"staff:{form.cleaned_data['token']}", reason):
            audit.note(user, balance=(before, ledger.balance(user.pk)), credits=("–", f"{credits:+d}: {reason}"))
            messages.success(request, f"{credits:+,} credits: the balance is {ledger.balance(user.pk):,}.")
        else:
            messages.warning(request, "This form was sent before; nothing more was moved.")
        return redirect(self.address(user))

    def suspend(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Stop an account, with a reason that its owner is shown."""
        user = self.changeable(request, pk)
        form = SuspensionForm(request.POST or None)
        if not form.is_valid():
            return self.form_page(request, user, form, "Suspend the account", "Suspend")
        user.suspended_at = user.suspended_at or timezone.now()
        user.suspension_reason = form.cleaned_data["reason"]
        user.save(update_fields=["suspended_at", "suspension_reason"])
        messages.success(request, "The account is suspended: it can begin nothing, and loses nothing.")
        return redirect(self.address(user))

    def reinstate(self, request: HttpRequest, pk: int) -> HttpResponse:
        user = self.changeable(request, pk)
        user.suspended_at, user.suspension_reason = None, ""
        user.save(update_fields=["suspended_at", "suspension_reason"])
        messages.success(request, "The account works again.")
        return redirect(self.address(user))

    def revoke_keys(self, request: HttpRequest, pk: int) -> HttpResponse:
        user = self.changeable(request, pk)
        live = list(ApiKey.objects.live().filter(user=user))
        for key in live:
            keys.revoke(key)
            audit.note(key, revoked=("no", "yes"))
        messages.success(request, f"{len(live)} keys were revoked.")
        return redirect(self.address(user))

    def changeable(self, request: HttpRequest, pk: int) -> User:
        user = get_object_or_404(User, pk=pk)
        if not self.has_change_permission(request, user):
            raise PermissionDenied
        return user

    def form_page(self, request: HttpRequest, user: User, form: Form, title: str, button: str) -> HttpResponse:
        context = self.admin_site.each_context(request) | {
            "title": title,
            "subtitle": str(user),
            "form": form,
            "button": button,
            "back": self.address(user),
            "opts": self.opts,
        }
        return TemplateResponse(request, "office/form.html", context, status=400 if form.is_bound else 200)

    def address(self, user: User) -> str:
        return reverse("admin:accounts_user_change", args=[user.pk])
