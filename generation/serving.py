"""What the model that is served is called, the same in every process: only a gpu worker may have its folder."""

import re
from pathlib import PurePath

from django.conf import settings

# A relative folder that is written like a hub id, `owner/name`, goes by all of that.
HUB_ID = re.compile(r"(?!.*\.safetensors$)[\w-][\w.-]*(/[\w.-]+)?", re.ASCII)


def served_model() -> str:
    """Return the name of the model that new generations are made by."""
    return name_of(settings.MODEL)


def name_of(model: str) -> str:
    """Return what a model is called by how it is written: its hub id, or the last part of a path."""
    return model if HUB_ID.fullmatch(model) else PurePath(model).name or model
