"""Money for staff: the catalog to edit, and everything that happened to look at; credits are given with `grant`."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from accounts.read_only import ReadOnly
from billing.models import Customer, Entry, Notice, Offer, Pack, Purchase, StripeEvent, Subscription, TopUp, Wallet


class Catalog(ModelAdmin):
    """What was ever sold stays: it is taken off sale, never deleted."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Pack)
class PackAdmin(Catalog):
    list_display = ("name", "credits", "price", "is_active")
    list_filter = ("is_active",)


@admin.register(Offer)
class OfferAdmin(Catalog):
    list_display = ("plan", "monthly_credits", "price", "stripe_price_id", "is_active")
    list_select_related = ("plan",)


class Owing(admin.SimpleListFilter):
    title = "owing"
    parameter_name = "owing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "owes credits"), ("no", "owes nothing")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Wallet]) -> QuerySet[Wallet]:
        match self.value():
            case "yes":
                return queryset.filter(owed__gt=0)
            case "no":
                return queryset.filter(owed=0)
        return queryset


@admin.register(Wallet)
class WalletAdmin(ReadOnly):
    list_display = ("user", "balance", "held", "owed")
    list_filter = (Owing,)
    list_select_related = ("user",)
    search_fields = ("user__email",)


@admin.register(Entry)
class EntryAdmin(ReadOnly):
    list_display = ("id", "wallet_id", "kind", "credits", "held_credits", "owed_credits", "cause", "note", "created_at")
    list_filter = ("kind", "created_at")
    search_fields = ("cause__exact",)  # anything else would read all entries
    search_help_text = "A whole cause, like generation:5120041. An account's page leads to its entries."
    show_full_result_count = False


@admin.register(Purchase)
class PurchaseAdmin(ReadOnly):
    list_display = ("id", "user", "kind", "state", "credits", "taken_credits", "price", "paid", "created_at", "paid_at")
    list_filter = ("status", "kind", "created_at")
    list_select_related = ("user",)
    search_fields = ("user__email", "session_id", "payment_intent_id", "charge_id", "invoice_id")


@admin.register(Subscription)
class SubscriptionAdmin(ReadOnly):
    list_display = ("user", "offer", "status", "stripe_id", "current_period_end", "cancels_at_period_end")
    list_filter = ("status", "offer")
    list_select_related = ("user", "offer__plan")
    search_fields = ("user__email", "stripe_id")


@admin.register(TopUp)
class TopUpAdmin(ReadOnly):
    list_display = ("user", "is_on", "threshold_credits", "pack", "most_a_day", "card", "off_reason", "changed_at")
    list_filter = ("is_on",)
    list_select_related = ("user", "pack")
    search_fields = ("user__email",)


@admin.register(Customer)
class CustomerAdmin(ReadOnly):
    list_display = ("user", "stripe_id", "created_at")
    list_select_related = ("user",)
    search_fields = ("user__email", "stripe_id")


@admin.register(StripeEvent)
class StripeEventAdmin(ReadOnly):
    list_display = ("id", "type", "object_id", "outcome", "happened_at", "received_at")
    list_filter = ("outcome", "type")
    search_fields = ("id", "object_id")


@admin.register(Notice)
class NoticeAdmin(ReadOnly):
    list_display = ("user", "subject", "created_at", "sent_at", "attempts")
    list_select_related = ("user",)
    search_fields = ("user__email", "subject")
