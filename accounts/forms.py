"""The forms about keys and about one's own account, the first of which makes it."""

import zoneinfo
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

import allauth.account.forms
from allauth.account.adapter import get_adapter
from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from accounts import quotas
from accounts.addresses import MOST_NETWORKS, check_networks, read_network
from accounts.models import ApiKey, Scope, User

INSTANT = timedelta(microseconds=1)
MOST_KEYS = 100  # of an account, that are not over
MOST_CHARACTERS = 100 * MOST_NETWORKS  # of a list of networks; none has more than 50
GRACE = {"0": timedelta(), "1": timedelta(hours=1), "24": timedelta(hours=24)}  # after a rotation, by hours


class SignupForm(allauth.account.forms.SignupForm):
    """Makes one account of a form that is sent twice at once."""

    def try_save(self, request: HttpRequest) -> tuple[User | None, HttpResponse | None]:
        try:
            with transaction.atomic():
                return super().try_save(request)
        except IntegrityError:
            self.validate_unique_email(self.cleaned_data["email"])  # looks again
            if not self.account_already_exists:
                raise
            return None, get_adapter().respond_email_verification_sent(request, None)  # by the other one


class AddressesField(forms.CharField):
    """Networks, one a line or with commas between them; the value is a list."""

    widget = forms.Textarea(attrs={"rows": 3, "spellcheck": "false"})

    def __init__(self, *, encoder: Any = None, decoder: Any = None, **kwargs: Any) -> None:
        super().__init__(max_length=MOST_CHARACTERS, **kwargs)

    def prepare_value(self, value: str | Sequence[str] | None) -> str:
        return value if isinstance(value, str) else "\n".join(value or ())

    def to_python(self, value: str | None) -> list[str]:  # type: ignore[override]
        self.run_validators(value)  # of its length: each word costs much more than to be counted
        networks, errors = [], []
        for word in (value or "").replace(",", " ").split():
            try:
                networks.append(read_network(word))
            except ValidationError as error:
                errors.append(error)
        if errors:
            raise ValidationError(errors)
        networks = list(dict.fromkeys(networks))
        check_networks(networks)
        return networks

    def has_changed(self, initial: Any, data: str | None) -> bool:
        data = data or ""
        return len(data) > MOST_CHARACTERS or self.prepare_value(initial).split() != data.replace(",", " ").split()


class KeyForm(forms.ModelForm):
    """What a key is called and good for; of a new key or an old one."""

    scope = forms.ChoiceField(label="It may", choices=Scope.choices, initial=Scope.GENERATE, widget=forms.RadioSelect)
    expires_on = forms.DateField(
        label="Last day",
        required=False,
        help_text="The key works until the end of this day. Empty: until you revoke it.",
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )
    allowed_addresses = AddressesField(
        label="Allowed addresses",
        required=False,
        help_text="Where its calls may come from, like 203.0.113.7 or 203.0.113.0/24; one a line. Empty: anywhere.",
    )

    class Meta:
        model = ApiKey
        fields = ("name", "scope", "spending_cap_credits", "allowed_addresses")
        labels = {"name": "Name", "spending_cap_credits": "Credits a month"}
        help_texts = {
            "name": "What uses it, so that you know later which one to rotate.",
            "spending_cap_credits": "The most that may be spent through it in a calendar month. Empty: no cap.",
        }

    field_order = ("name", "scope", "spending_cap_credits", "expires_on", "allowed_addresses")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        cap = self.fields["spending_cap_credits"]
        cap.widget.attrs["min"] = 1
        cap.validators.append(MinValueValidator(1))
        if self.instance.expires_at:
            self.initial["expires_on"] = quotas.local_day(self.instance.user, self.instance.expires_at - INSTANT)

    def clean_expires_on(self) -> date | None:
        last_day = self.cleaned_data["expires_on"]
        if last_day and last_day.year >= 3000:
            raise ValidationError("Choose a day before the year 3000, or leave this empty.")
        if last_day and "expires_on" in self.changed_data and end_of(self.instance.user, last_day) <= timezone.now():
            raise ValidationError("This day is over.")
        return last_day

    def clean(self) -> dict[str, Any]:
        if not self.instance.pk and self.instance.user.api_keys.live().count() >= MOST_KEYS:
            raise ValidationError(f"You have {MOST_KEYS} keys. Revoke one that nothing uses, then make another.")
        return super().clean() or {}

    def save(self, commit: bool = True) -> ApiKey:
        if "expires_on" in self.changed_data:
            last_day = self.cleaned_data["expires_on"]
            self.instance.expires_at = end_of(self.instance.user, last_day) if last_day else None
        key: ApiKey = super().save(commit=False)
        if commit:
            # Nothing else: the key may have been revoked or rotated since it was read.
            key.save(update_fields=[*self.Meta.fields, "expires_at"])
        return key


class RotationForm(forms.Form):
    """How long the old secret works on, and which one that is: the same form sent twice is not meant to end two."""

    last_four = forms.CharField(required=False, widget=forms.HiddenInput({"autocomplete": "off"}))
    grace = forms.TypedChoiceField(
        label="The present secret",
        choices=[("0", "ends at once"), ("1", "works for one more hour"), ("24", "works for 24 more hours")],
        initial="24",
        coerce=GRACE.__getitem__,
        widget=forms.RadioSelect,
    )


class PreferencesForm(forms.ModelForm):
    """What an account prefers."""

    time_zone = forms.ChoiceField(
        label="Time zone",
        help_text="Your days and months begin at its midnight: limits by day and by month, and the caps of keys.",
    )

    class Meta:
        model = User
        fields = ("time_zone",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["time_zone"].choices = [(name, name.replace("_", " ")) for name in time_zones()]  # type: ignore[attr-defined]


class ClosingForm(forms.Form):
    """Makes sure that somebody means to close this very account."""

    email = forms.EmailField(label="Your e-mail address, to be sure", widget=forms.EmailInput({"autocomplete": "off"}))

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"]
        if email.lower() != self.user.email:
            raise ValidationError("This is not the address of your account.")
        return email


@cache
def time_zones() -> list[str]:
    """Return the names of places, and UTC; without the old names of whole countries and of offsets."""
    regions = ("Africa", "America", "Antarctica", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific")
    return ["UTC", *sorted(name for name in zoneinfo.available_timezones() if name.split("/")[0] in regions)]


def end_of(user: User, day: date) -> datetime:
    return quotas.midnight(user, day + timedelta(days=1))
