"""Tiny random checkpoints, built once, and pictures that are the same every time."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from generation.engine import Engine, EngineSettings, PipelineEngine, load_model
from tests.tiny_model import build_tiny_flux, build_tiny_model, build_tiny_sd3

torch.set_num_threads(1)  # the networks are too small for more to pay


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_v_prediction(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("tiny_v"), prediction_type="v_prediction")


@pytest.fixture(scope="session")
def tiny_xl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("tiny_xl"), "xl")


@pytest.fixture(scope="session")
def tiny_inpainting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("tiny_inpainting"), "inpainting")


@pytest.fixture(scope="session")
def tiny_sd3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_sd3(tmp_path_factory.mktemp("tiny_sd3"))


@pytest.fixture(scope="session")
def tiny_flux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_flux(tmp_path_factory.mktemp("tiny_flux"))


@pytest.fixture(scope="session")
def engine(tiny: Path) -> Engine:
    return Engine.load(EngineSettings(model=str(tiny), safety="none", dtype="float32"))


@pytest.fixture(scope="session")
def engine_xl(tiny_xl: Path) -> Engine:
    return Engine.load(EngineSettings(model=str(tiny_xl), safety="none", dtype="float32"))


@pytest.fixture(scope="session")
def engine_inpainting(tiny_inpainting: Path) -> Engine:
    return Engine.load(EngineSettings(model=str(tiny_inpainting), safety="none", dtype="float32"))


@pytest.fixture(scope="session")
def engine_sd3(tiny_sd3: Path) -> PipelineEngine:
    return load_model(EngineSettings(model=str(tiny_sd3), safety="none", dtype="float32"))


@pytest.fixture(scope="session")
def engine_flux(tiny_flux: Path) -> PipelineEngine:
    return load_model(EngineSettings(model=str(tiny_flux), safety="none", dtype="float32"))


@pytest.fixture
def photo() -> Image.Image:
    """64x64, smooth colours with an edge."""
    y, x = np.mgrid[0:64, 0:64]
    levels = np.stack([4 * x, 4 * y, np.where(x > y, 200, 30)], axis=-1)
    return Image.fromarray(levels.astype(np.uint8))


@pytest.fixture
def mask() -> Image.Image:
    """64x64, white in a square that no latent pixel fits exactly."""
    levels = np.zeros((64, 64), dtype=np.uint8)
    levels[19:45, 11:37] = 255
    return Image.fromarray(levels)
