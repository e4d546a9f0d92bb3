"""Settings that change how a network computes leave the image as it is, or say what they lack."""

import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import FusedAttnProcessor2_0
from PIL import Image
from torch._dynamo.testing import CompileCounter

from generation.engine import Engine, EngineSettings, ImageRequest, UnsupportedModel, load_model
from generation.engine.computing import WAYS, use

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

    fused = load_model(settings(folder, tuning=("fuse_qkv",)))

    assert fused.facts()["tuning"] == "fuse_qkv"
    assert difference(fused.generate(REQUEST).images, plain.generate(REQUEST).images) <= 1
    if kind == "sd":
        assert {type(each) for each in fused._checkpoint.unet.attn_processors.values()} == {FusedAttnProcessor2_0}


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_compiled_blocks_make_the_same_image(engine, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))

    compiled = load_model(settings(tiny, tuning=("compile",)))

    assert compiled.facts()["tuning"] == "compile"
    assert difference(compiled.generate(REQUEST).images, engine.generate(REQUEST).images) <= 1
    assert list(tmp_path.rglob("*.so"))


def test_a_network_without_blocks_that_repeat_is_refused():
    with pytest.raises(UnsupportedModel, match="A Linear has no blocks to compile; leave compile out of TUNING"):
        use(torch.nn.Linear(1, 1), ["compile"])


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
    assert use(torch.nn.Linear(1, 1), ["tf32"]) == ["tf32"]
    assert torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.allow_tf32


def test_a_network_that_cannot_fuse_is_refused():
    with pytest.raises(UnsupportedModel, match="A Linear can't fuse its projections; leave fuse_qkv out of TUNING"):
        use(torch.nn.Linear(1, 1), ["fuse_qkv"])


def test_an_unknown_way_is_refused_with_those_that_there_are(tiny):
    words = "There is no tuning turbo; there are channels_last, fuse_qkv, tf32, compile, cuda_graphs."
    with pytest.raises(UnsupportedModel, match=words):
        load_model(settings(tiny, tuning=("turbo", "tf32")))


@pytest.mark.parametrize("name", ["channels_last", "fuse_qkv"])
def test_a_way_that_was_given_up_again_has_changed_nothing(engine, tiny, name):
    tried = load_model(settings(tiny))
    way = WAYS[name]

    way.take_up(tried.network)
    there = difference(tried.generate(REQUEST).images, engine.generate(REQUEST).images)
    way.give_up(tried.network)

    assert there <= 1
    assert tried.network.state_dict().keys() == engine.network.state_dict().keys()
    assert all(
        weight.stride() == before.stride()
        for weight, before in zip(tried.network.parameters(), engine.network.parameters(), strict=True)
    )
    assert difference(tried.generate(REQUEST).images, engine.generate(REQUEST).images) == 0


def test_another_thread_than_the_one_that_loads_has_a_graph_for_each_of_many_shapes(monkeypatch):
    network, counter = torch.nn.Linear(4, 4), CompileCounter()
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda call, **options: compile_(call, backend=counter, dynamic=False))

    use(network, ["cuda_graphs"])
    with ThreadPoolExecutor(1) as loop:
        for rows in range(2, 14):
            loop.submit(network, torch.ones(rows, 4)).result()

    assert counter.frame_count == 12


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_what_a_recorded_graph_returns_is_the_callers_own(monkeypatch):
    network, steps = torch.nn.Linear(4, 4), []
    expected = network(torch.ones(2, 4)).detach()
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: steps.append(1))

    use(network, ["cuda_graphs"])
    with torch.inference_mode():
        first, second = network(torch.ones(2, 4)), network(torch.ones(2, 4))

    assert torch.allclose(first, expected)
    assert first.data_ptr() != second.data_ptr()
    assert steps == [1, 1]
