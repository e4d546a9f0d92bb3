"""Generations and webhooks for staff: to look at and to cancel, never to edit."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import TabularInline

from accounts import audit
from accounts.read_only import ReadOnly
from billing import ledger
from generation import services
from generation.models import Attempt, Delivery, Endpoint, Event, Generation, Host, SilencedUrl
from generation.webhooks import listening


@admin.register(Generation)
class GenerationAdmin(ReadOnly):
    list_display = ("id", "account", "mode", "status", "held_credits", "charged_credits", "attempt", "created_at")
    list_filter = ("status", "created_at")
    list_select_related = ("account",)
    search_fields = ("=id", "account__email", "file_prefix")
    show_full_result_count = False
    actions = ("cancel", "give_credits_back")

    @admin.display
    def mode(self, generation: Generation) -> str:
        return str(generation.params["mode"])

    @admin.action(description="Cancel: the credits go back", permissions=["cancel"])
    def cancel(self, request: HttpRequest, generations: QuerySet[Generation]) -> None:
        canceled = 0
        for generation in generations:
            if services.cancel(generation.pk):
                audit.note(generation, status=(generation.status, "canceled"))
                canceled += 1
        messages.success(request, f"{canceled} generations were canceled; the others were over already.")

    @admin.action(description="Give the credits back, once each", permissions=["give_credits"])
    def give_credits_back(self, request: HttpRequest, generations: QuerySet[Generation]) -> None:
        returned = 0
        for generation in generations.filter(charged_credits__gt=0):
            credits, words = generation.charged_credits, f"Given back for generation {generation.pk}"
            if ledger.grant(generation.account_id, credits, f"given_back:{generation.pk}", words):
                audit.note(generation, credits_given_back=(0, credits))
                returned += credits
        messages.success(request, f"{returned:,} credits went back.")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("generation.change_generation"))

    def has_give_credits_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("billing.add_entry"))


class AttemptInline(TabularInline):
    model = Attempt
    fields = readonly_fields = ("number", "began_at", "seconds", "status", "answer", "headers")
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Delivery)
class DeliveryAdmin(ReadOnly):
    list_display = ("id", "account", "event", "url", "state", "attempts", "due_at", "answer")
    list_filter = ("state", "event__type")
    list_select_related = ("account", "event")
    search_fields = ("account__email", "url", "=generation__id")
    show_full_result_count = False
    inlines = (AttemptInline,)
    actions = ("resend",)

    @admin.action(description="Send again what was given up", permissions=["resend"])
    def resend(self, request: HttpRequest, deliveries: QuerySet[Delivery]) -> None:
        for delivery in deliveries.filter(state=Delivery.State.GIVEN_UP):
            audit.note(delivery, sent_again=("no", "yes"))
        messages.success(request, f"{listening.resend(deliveries)} deliveries are tried again.")

    def has_resend_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("generation.change_delivery"))


@admin.register(Event)
class EventAdmin(ReadOnly):
    list_display = ("id", "account", "type", "generation", "created_at")
    list_filter = ("type",)
    list_select_related = ("account", "generation")
    search_fields = ("account__email", "=generation__id")
    show_full_result_count = False


@admin.register(Endpoint)
class EndpointAdmin(ReadOnly):
    list_display = ("id", "account", "url", "is_on", "off_reason", "created_at")
    list_filter = ("is_on",)
    list_select_related = ("account",)
    search_fields = ("account__email", "url")


@admin.register(Host)
class HostAdmin(ReadOnly):
    list_display = ("name", "failures", "open_until", "served_at")
    search_fields = ("name",)


@admin.register(SilencedUrl)
class SilencedUrlAdmin(ReadOnly):
    list_display = ("url", "api_key", "created_at")
    list_select_related = ("api_key",)
    search_fields = ("url", "api_key__user__email")
