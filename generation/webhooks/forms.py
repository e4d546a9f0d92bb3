"""The forms about webhooks."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from accounts.models import User
from generation.fields import LONGEST_LINK, is_link
from generation.webhooks.models import Endpoint, Event, all_but_progress

CHOICES = [(type.value, type.value) for type in Event.Type if type != Event.Type.PING]
ADDRESS_TAKEN = "There is an endpoint with this address already."


class EndpointForm(forms.ModelForm):
    """An address, and what it wants to hear of."""

    events = forms.MultipleChoiceField(
        choices=CHOICES,
        initial=all_but_progress,
        widget=forms.CheckboxSelectMultiple,
        help_text="queued and processing tell of progress; balance.low of credits that run out.",
    )

    class Meta:
        model = Endpoint
        fields = ("url", "events", "low_balance_credits", "is_on")
        labels = {"url": "Address", "low_balance_credits": "Low balance", "is_on": "Send events to this address"}
        help_texts = {
            "url": "An http or https address of yours that answers POST with a 2xx within 15 seconds.",
            "low_balance_credits": "balance.low is sent when fewer credits than this are left.",
        }
        widgets = {"url": forms.URLInput(attrs={"placeholder": "https://example.com/hooks/atelier"})}

    def __init__(self, account: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.account = account

    def clean_url(self) -> str:
        url = str(self.cleaned_data["url"]).strip()
        if not is_link(url):
            raise ValidationError("Enter an http or https address, like https://example.com/hooks.")
        if len(url.encode()) > LONGEST_LINK:
            raise ValidationError(f"Enter an address of at most {LONGEST_LINK} bytes in UTF-8.")
        same = Endpoint.objects.filter(account=self.instance.account, url=url).exclude(pk=self.instance.pk)
        if same.exists():
            raise ValidationError(ADDRESS_TAKEN)
        return url


class SinceForm(forms.Form):
    """From when on what failed is to be sent again."""

    since = forms.DateTimeField(
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}), label="Failed since (UTC)"
    )
