"""What the back office adds to the admin, and what it takes out or dresses of other packages."""

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.models import Group
from django.http import HttpRequest
from django_rq.models import Dashboard
from unfold.admin import ModelAdmin

from accounts.read_only import ReadOnly
from office import log, people  # noqa: F401  (they register their pages)
from office.models import Announcement

# Secrets of second factors, rows that follow from the account's own pages, and the second door to office/queues.py.
admin.site.unregister([Authenticator, Dashboard, EmailAddress, Group, UserSession])


@admin.register(Announcement)
class AnnouncementAdmin(ModelAdmin):
    list_display = ("text", "tone", "begins_at", "ends_at")
    list_filter = ("tone",)


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    """Roles of staff: who could change them could give themselves every right."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return request.user.is_superuser

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return request.user.is_superuser


@admin.register(EmailAddress)
class EmailAddressAdmin(ReadOnly):
    list_display = ("email", "user", "primary", "verified")
    list_select_related = ("user",)
    search_fields = ("email", "user__email")


@admin.register(UserSession)
class UserSessionAdmin(ReadOnly):
    list_display = ("user", "created_at", "last_seen_at", "ip", "user_agent")
    list_select_related = ("user",)
    search_fields = ("user__email", "ip")
    exclude = ("session_key",)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Tell no key, which logs in, letter by letter by what a filter leaves in the list."""
        return not lookup.startswith("session_key") and super().lookup_allowed(lookup, value, request)
