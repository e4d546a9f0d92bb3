"""Stable Diffusion without Django: the only package that imports torch, diffusers and transformers."""

import os

# A thread of OpenMP that waits for its next piece of work spins before it sleeps, by default for some milliseconds: so
# long it keeps a core from what encodes, stores and charges the images. The pieces of a step follow each other much
# sooner. OpenMP reads this when torch loads it.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")

from generation.engine.batching import BatchingEngine
from generation.engine.choosing import load_model
from generation.engine.errors import (
    BrokenLatents,
    Canceled,
    EngineError,
    OutOfMemory,
    UnknownScheduler,
    UnsupportedModel,
    UnsupportedRequest,
)
from generation.engine.loaded import LoadedModel
from generation.engine.loading import EngineSettings
from generation.engine.pipeline import Engine
from generation.engine.request import ImageRequest, ImageResult, OnDraft, OnStep
from generation.engine.whole import PipelineEngine

__all__ = [
    "BatchingEngine",
    "BrokenLatents",
    "Canceled",
    "Engine",
    "EngineError",
    "EngineSettings",
    "ImageRequest",
    "ImageResult",
    "LoadedModel",
    "OnDraft",
    "OnStep",
    "OutOfMemory",
    "PipelineEngine",
    "UnknownScheduler",
    "UnsupportedModel",
    "UnsupportedRequest",
    "load_model",
]
