"""How a network computes, beside its device and precision: what the settings ask for."""

import importlib

import torch

from generation.engine.errors import UnsupportedModel
from generation.engine.loading import EngineSettings

_QUANTIZED = {"int8": "Int8WeightOnlyConfig", "fp8": "Float8WeightOnlyConfig"}  # of torchao


def tune(network: torch.nn.Module, settings: EngineSettings) -> list[str]:
    """Change how a UNet or transformer computes, and return in words what was changed.

    Raises:
        UnsupportedModel: the network or this machine can't do what the settings ask for.
    """
    done = []
    if settings.tf32:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        done.append("TF32")
    if settings.fuse_qkv:
        _fuse(network)
        done.append("fused projections")
    if settings.quantize:
        _quantize(network, settings.quantize)  # after fusing, which copies the weights
        done.append(f"{settings.quantize} weights")
    if settings.compile:
        _compile(network)
        done.append("compiled blocks")
    return done


def _fuse(network: torch.nn.Module) -> None:
    if not hasattr(network, "fuse_qkv_projections"):
        raise UnsupportedModel(f"A {type(network).__name__} can't fuse its projections; leave FUSE_QKV off.")
    network.fuse_qkv_projections()


def _compile(network: torch.nn.Module) -> None:
    """Let torch.compile have the blocks that repeat: of each kind one is compiled, for all sizes and batches.

    It is done when the first images are made; inductor keeps the result in TORCHINDUCTOR_CACHE_DIR for the next start.
    """
    if not getattr(network, "_repeated_blocks", None):
        raise UnsupportedModel(f"A {type(network).__name__} has no blocks to compile; leave COMPILE off.")
    network.compile_repeated_blocks(dynamic=True)


def _quantize(network: torch.nn.Module, kind: str) -> None:
    try:
        torchao = importlib.import_module("torchao.quantization")
    except ImportError as error:
        raise UnsupportedModel(f"QUANTIZE={kind} needs torchao: pip install torchao") from error
    torchao.quantize_(network, getattr(torchao, _QUANTIZED[kind])())
