"""From settings to weights: the only module that reads checkpoints, and that chooses device and dtype."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import diffusers
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DiffusionPipeline,
    SchedulerMixin,
    UNet2DConditionModel,
)
from safetensors import safe_open
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from generation.engine.errors import UnsupportedModel
from generation.engine.patch_autoencoder import PatchAutoencoder

logger = logging.getLogger(__name__)

# On a CPU oneDNN makes a kernel for each layer and number of rows, and keeps 1,024 unless told otherwise: those of a
# UNet for a handful of batch sizes. When batches grow and shrink, it would make them anew for each step. What torch
# keeps of them beside that, for each thread and layer, saves hardly any time then and takes half as much memory again.
# Both read this at their first use.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16384")
os.environ.setdefault("LRU_CACHE_CAPACITY", "1")

_MODELS = (
    UNet2DConditionModel,
    AutoencoderKL,
    AutoencoderTiny,
    PatchAutoencoder,
    CLIPTextModel,
    CLIPTextModelWithProjection,
)
_CLASSES = {kind.__name__: kind for kind in (*_MODELS, CLIPTokenizer)} | {"CLIPTokenizerFast": CLIPTokenizer}
_PARTS = ("unet", "vae", "tokenizer", "text_encoder", "tokenizer_2", "text_encoder_2", "scheduler")


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """Which checkpoint to load, and how; the defaults suit the machine at hand."""

    model: str  # hub id, folder in diffusers format, or single .safetensors file
    name: str = ""  # what it is called; empty: its hub id, or the name of its folder or file
    revision: str | None = None  # branch, tag or commit of a hub id
    variant: str | None = None  # "fp16" where the weights are stored as such
    config: str | None = None  # single file: folder or hub id with its configs; None: diffusers' guess, from the hub
    device: str = "auto"  # "cuda", "cuda:1", "mps", "cpu"
    dtype: str = "auto"  # "float16", "bfloat16", "float32"
    scheduler: str | None = None  # None: the checkpoint's own
    safety: Literal["opennsfw", "diffusers", "none"] = "opennsfw"
    frugal: bool = False  # VAE tiling from the start, not only once memory ran out
    threads: int | None = None  # CPU threads of torch; None: its default
    tuning: tuple[str, ...] = ()  # of computing.WAYS
    quantize: str | None = None  # "int8" or "fp8": weights of the UNet or transformer, by torchao


def served_name(settings: EngineSettings) -> str:
    """Return what the model is called."""
    return settings.name or (Path(settings.model).name if Path(settings.model).exists() else settings.model)


@dataclass(frozen=True)
class Checkpoint:
    """A Stable Diffusion model in memory: its networks, and what their configs say."""

    name: str
    revision: str
    unet: UNet2DConditionModel
    vae: torch.nn.Module
    tokenizers: list[CLIPTokenizer]  # one; two for XL
    text_encoders: list[CLIPTextModel | CLIPTextModelWithProjection]
    scheduler: SchedulerMixin  # the model's own, never stepped
    is_lcm: bool  # distilled as a latent consistency model, of which diffusers has pipelines of its own
    zeros_for_empty_prompt: bool  # XL: an empty negative prompt is zeros, not the text ""
    cutoff_step_ratio: float  # share of the steps after which guidance ends; 1.0: never
    device: torch.device
    dtype: torch.dtype

    @property
    def is_xl(self) -> bool:
        """Whether the UNet is conditioned on pooled text and image size besides the prompt."""
        return self.unet.config.addition_embed_type == "text_time"

    @property
    def latent_channels(self) -> int:
        """Channels of a latent: 4 for Stable Diffusion."""
        return self.vae.config.latent_channels

    @property
    def is_inpainting(self) -> bool:
        """Whether the UNet takes a mask and a masked image as further channels."""
        return self.unet.config.in_channels == 2 * self.latent_channels + 1


def load_checkpoint(settings: EngineSettings) -> Checkpoint:
    """Read the weights, downloading them if need be, and put them on the device.

    Raises:
        UnsupportedModel: not Stable Diffusion 1.x, 2.x or XL; large files have not been read then.
        OSError: there is no such model.
    """
    device = choose_device(settings.device)
    dtype = choose_dtype(settings.dtype, device)
    from_file = settings.model.endswith(".safetensors")
    parts, index, commit = (_read_file if from_file else _read_folder)(settings, dtype)
    for part in parts.values():
        if isinstance(part, torch.nn.Module):
            part.to(device).eval().requires_grad_(False)
    if "text_encoder_2" in parts and parts["vae"].config.get("force_upcast") and dtype == torch.float16:
        parts["vae"].to(torch.float32)  # the XL autoencoder overflows in half precision
    return Checkpoint(
        name=served_name(settings),
        revision=commit or settings.revision or "local",
        unet=parts["unet"],
        vae=parts["vae"],
        tokenizers=[parts[name] for name in ("tokenizer", "tokenizer_2") if name in parts],
        text_encoders=[parts[name] for name in ("text_encoder", "text_encoder_2") if name in parts],
        scheduler=parts["scheduler"],
        is_lcm=str(index.get("_class_name")).startswith("LatentConsistencyModel"),
        zeros_for_empty_prompt=index.get("force_zeros_for_empty_prompt", True),
        cutoff_step_ratio=index.get("cutoff_step_ratio", 1.0),
        device=device,
        dtype=dtype,
    )


def choose_device(wanted: str) -> torch.device:
    """Return the device named, or the fastest there is for "auto"."""
    if wanted != "auto":
        return torch.device(wanted)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def choose_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """Return the dtype named, or half precision where the device is fast at it for "auto"."""
    if wanted == "auto" and device.type == "cpu":
        # Elsewhere bfloat16 is emulated, and many times slower than float32.
        native = {name for name, there in torch.cpu.get_capabilities().items() if there}
        return torch.bfloat16 if native & {"avx512_bf16", "amx_bf16"} else torch.float32
    if wanted == "auto":
        return torch.float16
    return {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}[wanted]


def _read_folder(settings: EngineSettings, dtype: torch.dtype) -> tuple[dict[str, Any], dict[str, Any], str | None]:
    origin = {"revision": settings.revision}
    index, commit = DiffusionPipeline.load_config(settings.model, return_commit_hash=True, **origin)
    named = {part: (index.get(part) or (None, None))[1] for part in _PARTS}
    kinds = {part: _class(part, name) for part, name in named.items() if name}
    networks: list[str] = [part for part in ("unet", "vae") if part in kinds]
    configs = {part: kinds[part].load_config(settings.model, subfolder=part, **origin) for part in networks}
    _check(kinds, configs)
    parts = {
        part: read_network(kind, settings.model, settings.variant, subfolder=part, dtype=dtype, **origin)
        if kind in _MODELS
        else kind.from_pretrained(settings.model, subfolder=part, **origin)
        for part, kind in kinds.items()
    }
    return parts, index, commit


def read_network(kind: Any, folder: str, variant: str | None, **options: Any) -> Any:
    """Return a part of a model from the variant of its weights, or from those without one where there is none.

    Raises:
        OSError: it has neither.
    """
    if variant:
        try:
            return kind.from_pretrained(folder, variant=variant, **options)
        except OSError:
            logger.warning("There are no %s weights of %s, so the others are read.", variant, kind.__name__)
    return kind.from_pretrained(folder, **options)


def _class(part: str, name: str) -> Any:
    kind = getattr(diffusers, name, None) if part == "scheduler" else _CLASSES.get(name)
    if kind is None:
        raise UnsupportedModel(
            f"The {part} of this model is a {name}, which Stable Diffusion 1.x, 2.x and XL do not have."
        )
    return kind


def _read_file(settings: EngineSettings, dtype: torch.dtype) -> tuple[dict[str, Any], dict[str, Any], str | None]:
    with safe_open(settings.model, framework="pt") as file:
        names = set(file.keys())
    if any(name.startswith("conditioner.embedders.1.") for name in names):
        pipeline = diffusers.StableDiffusionXLPipeline.from_single_file(
            settings.model, config=settings.config, dtype=dtype
        )
    elif any(name.startswith("cond_stage_model.") for name in names):
        pipeline = diffusers.StableDiffusionPipeline.from_single_file(
            settings.model, config=settings.config, dtype=dtype, safety_checker=None
        )
    else:
        raise UnsupportedModel(f"{settings.model} does not hold a whole Stable Diffusion 1.x, 2.x or XL model.")
    parts = {
        part: component for part, component in pipeline.components.items() if part in _PARTS and component is not None
    }
    _check(parts, {part: parts[part].config for part in ("unet", "vae")})
    return parts, dict(pipeline.config), None


def _check(parts: dict[str, Any], configs: dict[str, Any]) -> None:
    """Refuse a model by the parts it has and the configs of its UNet and VAE."""
    missing = [part for part in ("unet", "vae", "tokenizer", "text_encoder", "scheduler") if part not in parts]
    if missing:
        raise UnsupportedModel(
            f"This model has no {' and no '.join(missing)}: it is not Stable Diffusion 1.x, 2.x or XL (base)."
        )
    unet, latent_channels = configs["unet"], configs["vae"].get("latent_channels", 4)
    # "text": the UNet pools the very states that it attends to, and is called as without.
    wanted = {"text_time"} if "text_encoder_2" in parts else {None, "text"}
    if (
        unet.get("addition_embed_type") not in wanted
        or unet.get("class_embed_type")
        or unet.get("encoder_hid_dim_type")
    ):
        raise UnsupportedModel("The UNet is conditioned on something else than its text encoders give.")
    if unet["in_channels"] not in (latent_channels, 2 * latent_channels + 1):
        raise UnsupportedModel(
            f"The UNet takes {unet['in_channels']} channels for latents of {latent_channels}:"
            " it is neither an ordinary nor an inpainting model."
        )
