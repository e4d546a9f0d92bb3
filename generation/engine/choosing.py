"""Chooses the engine for a model: the one place that says which are stepped in the denoising loop and which are not."""

from diffusers import DiffusionPipeline
from diffusers.pipelines import auto_pipeline

from generation.engine.errors import UnsupportedModel
from generation.engine.loading import EngineSettings
from generation.engine.pipeline import Engine
from generation.engine.whole import PipelineEngine

_STEPPED = {"stable-diffusion", "stable-diffusion-xl", "lcm"}  # families as diffusers names them; the rest run whole
_FAMILIES = {
    kind.__name__: family
    for kinds in (
        auto_pipeline.AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
        auto_pipeline.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
        auto_pipeline.AUTO_INPAINT_PIPELINES_MAPPING,
    )
    for family, kind in kinds.items()
}


def load_model(settings: EngineSettings) -> Engine | PipelineEngine:
    """Read a model and return the engine that runs it.

    Raises:
        UnsupportedModel, UnsupportedRequest, UnknownScheduler: the settings name what can't be run; large files have
            not been read then.
        OSError: there is no such model.
    """
    return engine_for(settings).load(settings)


def engine_for(settings: EngineSettings) -> type[Engine | PipelineEngine]:
    """Return the class of the engine that runs a model, by the `_class_name` of its model_index.json.

    A single file is for the engine that steps, which refuses what is not Stable Diffusion.
    """
    if settings.model.endswith(".safetensors"):
        return Engine
    name = str(DiffusionPipeline.load_config(settings.model, revision=settings.revision).get("_class_name"))
    if name not in _FAMILIES:
        raise UnsupportedModel(
            f"A {name} can't be served: diffusers knows no text2img, img2img or inpaint of that kind."
        )
    return Engine if _FAMILIES[name] in _STEPPED else PipelineEngine
