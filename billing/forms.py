"""What customers fill in."""

from typing import Any

from django import forms

from billing.gateway import Card
from billing.models import Pack, TopUp
from billing.models.top_up import MOST_A_DAY


class PackChoice(forms.ModelChoiceField):
    def label_from_instance(self, obj: Any) -> str:
        return f"{obj.credits:,} credits for {obj.price}"


class TopUpForm(forms.Form):
    """When to buy, what, how often and with which card."""

    threshold_credits = forms.IntegerField(
        label="Buy when fewer credits are left than",
        min_value=1,
        max_value=1_000_000,
        help_text="Your balance after each request is compared with this.",
    )
    pack = PackChoice(label="Buy", queryset=Pack.objects.none(), empty_label=None)
    most_a_day = forms.IntegerField(
        label="At most, in 24 hours",
        min_value=1,
        max_value=MOST_A_DAY,
        help_text="How many packs. A program that runs wild then stops when your credits are used up.",
    )
    card = forms.ChoiceField(label="Card")

    def __init__(self, *args: Any, cards: list[Card], top_up: TopUp | None, **kwargs: Any) -> None:
        chosen = top_up or TopUp()
        kwargs.setdefault(
            "initial",
            {
                "threshold_credits": chosen.threshold_credits,
                "pack": chosen.pack_id,
                "most_a_day": chosen.most_a_day,
                "card": chosen.payment_method_id,
            },
        )
        super().__init__(*args, **kwargs | {"label_suffix": ""})
        self.cards = {card.id: card for card in cards}
        self.fields["card"].choices = [(card.id, card.label) for card in cards]  # type: ignore[attr-defined]
        self.fields["pack"].queryset = Pack.objects.filter(is_active=True)  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        pack, threshold = cleaned.get("pack"), cleaned.get("threshold_credits")
        if pack and threshold and pack.credits < threshold:
            self.add_error(
                "pack",
                f"This pack would not lift you over {threshold:,} credits: choose a larger one, or a lower line.",
            )
        return cleaned
