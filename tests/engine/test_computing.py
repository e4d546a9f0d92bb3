"""Settings that change how a network computes leave the image as it is, or say what they lack."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import FusedAttnProcessor2_0
from PIL import Image

from generation.engine import Engine, EngineSettings, ImageRequest, UnsupportedModel, load_model
from generation.engine.computing import tune

REQUEST = ImageRequest(prompt="a cat", width=64, height=64, num_inference_steps=4, samples=2)


def difference(images: list[Image.Image], others: list[Image.Image]) -> int:
    """Return by how many levels the farthest channel differs."""
    pairs = zip(images, others, strict=True)
    return max(int(np.abs(np.asarray(a).astype(int) - np.asarray(b).astype(int)).max()) for a, b in pairs)


def settings(folder: Path, **fields: object) -> EngineSettings:
    return EngineSettings(model=str(folder), safety="none", dtype="float32", **fields)  # type: ignore[arg-type]


def test_nothing_is_changed_unless_it_is_asked_for(engine):
    assert engine.facts()["tuning"] == "none"


@pytest.mark.parametrize("kind", ["sd", "sd3"])
def test_fused_projections_make_the_same_image(engine, engine_sd3, tiny, tiny_sd3, kind):
    plain, folder = {"sd": (engine, tiny), "sd3": (engine_sd3, tiny_sd3)}[kind]

    fused = load_model(settings(folder, fuse_qkv=True))

    assert fused.facts()["tuning"] == "fused projections"
    assert difference(fused.generate(REQUEST).images, plain.generate(REQUEST).images) <= 1
    if kind == "sd":
        assert {type(each) for each in fused._checkpoint.unet.attn_processors.values()} == {FusedAttnProcessor2_0}


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_compiled_blocks_make_the_same_image(engine, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))

    compiled = load_model(settings(tiny, compile=True))

    assert compiled.facts()["tuning"] == "compiled blocks"
    assert difference(compiled.generate(REQUEST).images, engine.generate(REQUEST).images) <= 1
    assert list(tmp_path.rglob("*.so"))


def test_a_network_without_blocks_that_repeat_is_refused():
    with pytest.raises(UnsupportedModel, match="A Linear has no blocks to compile; leave COMPILE off"):
        tune(torch.nn.Linear(1, 1), EngineSettings(model="", compile=True))


@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_weights_in_fewer_bits_make_nearly_the_same_image(engine, tiny, kind):
    pytest.importorskip("torchao", reason="an option that needs torchao")

    quantized = Engine.load(settings(tiny, quantize=kind))

    assert quantized.facts()["tuning"] == f"{kind} weights"
    assert 0 < difference(quantized.generate(REQUEST).images, engine.generate(REQUEST).images) < 64


def test_weights_in_fewer_bits_need_torchao(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)

    with pytest.raises(UnsupportedModel, match="QUANTIZE=int8 needs torchao: pip install torchao"):
        Engine.load(settings(tiny, quantize="int8"))


@pytest.fixture
def tf32() -> Iterator[None]:
    """CUDA's multiplication as it was, afterwards."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def test_tf32_is_switched_on_for_cuda(tf32):
    assert tune(torch.nn.Linear(1, 1), EngineSettings(model="", tf32=True)) == ["TF32"]
    assert torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.allow_tf32


def test_a_network_that_cannot_fuse_is_refused():
    with pytest.raises(UnsupportedModel, match="A Linear can't fuse its projections; leave FUSE_QKV off"):
        tune(torch.nn.Linear(1, 1), EngineSettings(model="", fuse_qkv=True))
