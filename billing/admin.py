"""Wallets and their entries for staff: to look at; credits are given with `manage.py grant`."""

from django.contrib import admin

from accounts.read_only import ReadOnly
from billing.models import Entry, Wallet


@admin.register(Wallet)
class WalletAdmin(ReadOnly):
    list_display = ("user", "balance", "held")
    list_select_related = ("user",)
    search_fields = ("user__email",)


@admin.register(Entry)
class EntryAdmin(ReadOnly):
    list_display = ("id", "wallet_id", "kind", "credits", "held_credits", "cause", "note", "created_at")
    list_filter = ("kind", "created_at")
    search_fields = ("cause", "wallet__user__email")
