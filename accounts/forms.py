"""The forms about keys."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from accounts.addresses import check_networks, read_network


class AddressesField(forms.CharField):
    """Networks, one a line or with commas between them; the value is a list."""

    widget = forms.Textarea(attrs={"rows": 3, "spellcheck": "false"})

    def __init__(self, *, encoder: Any = None, decoder: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def prepare_value(self, value: str | Sequence[str] | None) -> str:
        return value if isinstance(value, str) else "\n".join(value or ())

    def to_python(self, value: str | None) -> list[str]:  # type: ignore[override]
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
        return self.prepare_value(initial).split() != (data or "").replace(",", " ").split()
