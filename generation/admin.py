"""Generations and webhooks for staff: to look at and to cancel, never to edit."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.read_only import ReadOnly
from generation import services
from generation.models import Delivery, Generation


@admin.register(Generation)
class GenerationAdmin(ReadOnly):
    list_display = ("id", "account", "mode", "status", "held_credits", "charged_credits", "attempt", "created_at")
    list_filter = ("status", "created_at")
    list_select_related = ("account",)
    search_fields = ("=id", "account__email", "file_prefix")
    show_full_result_count = False
    actions = ("cancel",)

    @admin.display
    def mode(self, generation: Generation) -> str:
        return str(generation.params["mode"])

    @admin.action(description="Cancel: the credits go back", permissions=["view"])
    def cancel(self, request: HttpRequest, generations: QuerySet[Generation]) -> None:
        canceled = sum(services.cancel(pk) for pk in generations.values_list("pk", flat=True))
        messages.success(request, f"{canceled} generations were canceled; the others were over already.")


@admin.register(Delivery)
class DeliveryAdmin(ReadOnly):
    list_display = ("id", "generation", "url", "state", "attempts", "due_at", "answer")
    list_filter = ("state",)
    list_select_related = ("generation",)
    exclude = ("payload",)
