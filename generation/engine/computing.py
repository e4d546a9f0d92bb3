"""Ways in which a network can compute what it computes, beside its device and precision."""

import importlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils._pytree import tree_map_only

from generation.engine.errors import UnsupportedModel

MOST_GRAPHS = 64  # shapes that are recorded; others are computed as without
_QUANTIZED = {"int8": "Int8WeightOnlyConfig", "fp8": "Float8WeightOnlyConfig"}  # of torchao


def _keep(network: torch.nn.Module) -> None:
    raise NotImplementedError("This way of computing can't be given up again.")


class Way(NamedTuple):
    """One way to compute: how a network takes it up, and how it gives it up again where that is possible."""

    take_up: Callable[[torch.nn.Module], None]
    give_up: Callable[[torch.nn.Module], None] = _keep


def use(network: torch.nn.Module, ways: Sequence[str], quantize: str | None = None) -> list[str]:
    """Let a UNet or transformer compute in these WAYS, `quantize` its weights, and return in words what was changed.

    Raises:
        UnsupportedModel: there is no such way, or the network or this machine can't do it.
    """
    if unknown := set(ways) - set(WAYS):
        raise UnsupportedModel(f"There is no tuning {', '.join(sorted(unknown))}; there are {', '.join(WAYS)}.")
    for name in WAYS:
        if name in ways:
            WAYS[name].take_up(network)
        if name == "fuse_qkv" and quantize:
            _quantize(network, quantize)  # after fusing, which copies the weights, and before anything is compiled
    return [name for name in WAYS if name in ways] + ([f"{quantize} weights"] if quantize else [])


def _lay_channels_last(network: torch.nn.Module) -> None:
    network.to(memory_format=torch.channels_last)


def _lay_channels_first(network: torch.nn.Module) -> None:
    network.to(memory_format=torch.contiguous_format)


def _fuse(network: Any) -> None:
    """Let attention find query, key and value by one matrix, which is kept beside the three that it is made of."""
    try:
        network.fuse_qkv_projections()
    except (AttributeError, ValueError) as error:  # there is no such method, or attention is not of the usual kind
        message = f"A {type(network).__name__} can't fuse its projections; leave fuse_qkv out of TUNING."
        raise UnsupportedModel(message) from error


def _unfuse(network: Any) -> None:
    network.unfuse_qkv_projections()
    for module in network.modules():
        if hasattr(module, "fused_projections"):
            module.fused_projections = False
            for name in {"to_qkv", "to_kv", "to_added_qkv"} & module._modules.keys():
                delattr(module, name)


def _multiply_in_tf32(network: torch.nn.Module) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True


def _compile(network: Any) -> None:
    """Let torch.compile have the blocks that repeat: of each kind one is compiled, for all sizes and batches.

    It is done when the first images are made; inductor keeps the result in TORCHINDUCTOR_CACHE_DIR for the next start.
    """
    if not getattr(network, "_repeated_blocks", None):
        raise UnsupportedModel(f"A {type(network).__name__} has no blocks to compile; leave compile out of TUNING.")
    network.compile_repeated_blocks(dynamic=True)


def _record_graphs(network: torch.nn.Module) -> None:
    """Let torch.compile have the whole network, each shape apart, and on CUDA record its kernels and replay them."""
    compiled = torch.compile(network.forward, mode="reduce-overhead", dynamic=False)

    def forward(*arguments: Any, **options: Any) -> Any:
        torch._dynamo.config.recompile_limit = MOST_GRAPHS  # of this thread, as of torch 2.13
        torch.compiler.cudagraph_mark_step_begin()
        # What a graph returns lies where its next replay writes; schedulers keep it for longer.
        return tree_map_only(torch.Tensor, torch.clone, compiled(*arguments, **options))

    network.forward = forward


def _quantize(network: torch.nn.Module, kind: str) -> None:
    try:
        torchao = importlib.import_module("torchao.quantization")
    except ImportError as error:
        raise UnsupportedModel(f"QUANTIZE={kind} needs torchao: pip install torchao") from error
    torchao.quantize_(network, getattr(torchao, _QUANTIZED[kind])())


WAYS = {
    "channels_last": Way(_lay_channels_last, _lay_channels_first),
    "fuse_qkv": Way(_fuse, _unfuse),
    "tf32": Way(_multiply_in_tf32),
    "compile": Way(_compile),
    "cuda_graphs": Way(_record_graphs),
}
