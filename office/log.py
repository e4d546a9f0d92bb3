"""The audit log for staff: who changed what, with before and after."""

from auditlog.admin import LogEntryAdmin as AuditlogAdmin
from auditlog.models import LogEntry
from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

admin.site.unregister(LogEntry)


@admin.register(LogEntry)
class LogAdmin(AuditlogAdmin, ModelAdmin):
    """Read by all staff who may see it, changed by nobody."""

    list_display = ("created", "resource_url", "action", "msg_short", "actor_email", "remote_addr")
    list_filter = ("action", "content_type", "timestamp")
    search_fields = ("object_repr", "actor_email", "changes")

    def has_delete_permission(self, request: HttpRequest, obj: LogEntry | None = None) -> bool:
        return False
