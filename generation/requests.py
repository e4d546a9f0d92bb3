"""What may be asked for: the one set of rules, for the API's dialects and for the site's own pages."""

from typing import Any

from rest_framework import serializers

from generation.fields import Decimal, Image, Samples, Seed, Side, Steps, Switch, Text
from generation.params import Mode, Params, random_seed


class TextToImage(serializers.Serializer[Any]):
    """The parameters that every kind of generation has. Context: the account's quotas.Limits as a dict."""

    prompt = Text(max_length=2000, help_text="What to show. Emphasis: ((word)), [word], (word:1.3).")
    negative_prompt = Text(required=False, default="", max_length=2000, help_text="What not to show.")
    width = Side(required=False, default=512, min_value=64, max_value=1024, help_text="Pixels, a multiple of 8.")
    height = Side(required=False, default=512, min_value=64, max_value=1024, help_text="Pixels, a multiple of 8.")
    samples = Samples(required=False, default=1, min_value=1, max_value=4, help_text="How many images.")
    num_inference_steps = Steps(
        required=False, default=31, min_value=1, max_value=51, help_text="More steps take longer and are finer."
    )
    safety_checker = Switch(required=False, default=True, help_text="Replace an indecent image by a blank one.")
    enhance_prompt = Switch(required=False, default=True, help_text="Append words that improve quality.")
    guidance_scale = Decimal(
        required=False, default=7.5, min_value=1, max_value=20, help_text="How closely to follow the prompt."
    )
    seed = Seed(required=False, help_text="Empty or -1 for a random one.")

    mode: Mode = "text2img"

    def params(self) -> Params:
        """Return the validated fields as parameters, with the seed chosen."""
        fields = {name: value for name, value in self.validated_data.items() if name in Params.__dataclass_fields__}
        if fields["seed"] is None:
            fields["seed"] = random_seed()
        return Params(mode=self.mode, **fields)


class ImageToImage(TextToImage):
    """The same and a start image."""

    init_image = Image(help_text="The image to begin with: a link, a data: URL or base64.")
    strength = Decimal(
        required=False, default=0.7, min_value=0, max_value=1, help_text="1 destroys the start image completely."
    )

    mode: Mode = "img2img"


class Inpaint(ImageToImage):
    """The same and a mask."""

    mask_image = Image(help_text="White is repainted, black is kept.")

    mode: Mode = "inpaint"


MODES: dict[str, type[TextToImage]] = {kind.mode: kind for kind in (TextToImage, ImageToImage, Inpaint)}
IMAGES = ("init_image", "mask_image")
UNPRICED = ("prompt", "negative_prompt", *IMAGES)  # what has no influence on the price
