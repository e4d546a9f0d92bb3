"""What staff fill in about an account."""

import uuid
from typing import Any

from django import forms
from unfold.forms import UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextInputWidget

from accounts.models import User


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


class CreditsForm(forms.Form):
    """Credits that are given or taken, and why."""

    credits = forms.IntegerField(
        min_value=-1_000_000_000,
        max_value=1_000_000_000,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="A negative number takes credits back; what is not there any more is owed.",
    )
    reason = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget, help_text="The customer sees it.")
    token = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)  # a form sent twice moves credits once

    def clean_credits(self) -> int:
        credits: int = self.cleaned_data["credits"]
        if not credits:
            raise forms.ValidationError("Give or take at least one credit.")
        return credits


class SuspensionForm(forms.Form):
    """Why an account is stopped."""

    reason = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget, help_text="The customer sees it.")
