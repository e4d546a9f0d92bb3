"""Stable Diffusion without Django: the only package that imports torch, diffusers and transformers."""

from generation.engine.batching import BatchingEngine
from generation.engine.errors import (
    BrokenLatents,
    Canceled,
    EngineError,
    OutOfMemory,
    UnknownScheduler,
    UnsupportedModel,
)
from generation.engine.loading import EngineSettings
from generation.engine.pipeline import Engine
from generation.engine.request import ImageRequest, ImageResult, OnDraft, OnStep

__all__ = [
    "BatchingEngine",
    "BrokenLatents",
    "Canceled",
    "Engine",
    "EngineError",
    "EngineSettings",
    "ImageRequest",
    "ImageResult",
    "OnDraft",
    "OnStep",
    "OutOfMemory",
    "UnknownScheduler",
    "UnsupportedModel",
]
