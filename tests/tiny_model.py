"""A Stable Diffusion checkpoint with random weights, small enough to make an image in milliseconds; no download."""

import json
import string
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tokenizers import pre_tokenizers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

Kind = Literal["sd", "xl", "inpainting"]

_WIDTH = 32  # of the text encoders
_LETTERS = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((letter, -4.0) for letter in string.printable)]  # of T5


def build_tiny_model(
    folder: Path,
    kind: Kind = "sd",
    prediction_type: str = "epsilon",
    time_cond_proj_dim: int | None = None,
    attends_everywhere: bool = True,
) -> Path:
    """Write a checkpoint in diffusers format to folder, the same weights every time, and return folder.

    Attention at full resolution takes most of the time that a worker warms up.
    """
    with _same_weights():
        tokenizer = _tokenizer()
        parts = {
            "vae": _vae(),
            "unet": _unet(kind, time_cond_proj_dim, attends_everywhere),
            "text_encoder": _text_encoder(CLIPTextModel, tokenizer),
            "tokenizer": tokenizer,
            "scheduler": _scheduler(prediction_type),
        }
        if kind == "xl":
            second = {"text_encoder_2": _text_encoder(CLIPTextModelWithProjection, tokenizer), "tokenizer_2": tokenizer}
            pipeline = StableDiffusionXLPipeline(**parts, **second)
        else:
            pipeline_class = StableDiffusionInpaintPipeline if kind == "inpainting" else StableDiffusionPipeline
            pipeline = pipeline_class(
                **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
            )
    pipeline.save_pretrained(folder)
    return folder


def cut_guidance_off(folder: Path, cutoff_step_ratio: float) -> Path:
    """Let a checkpoint say after which share of the steps its guidance ends, and return its folder."""
    index = folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"cutoff_step_ratio": cutoff_step_ratio}))
    return folder


def build_tiny_sd3(folder: Path) -> Path:
    """Write a Stable Diffusion 3 checkpoint to folder, the same weights every time, and return folder."""
    with _same_weights():
        tokenizer = _tokenizer()
        transformer = SD3Transformer2DModel(
            sample_size=8,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=2 * _WIDTH,
            caption_projection_dim=32,
            pooled_projection_dim=2 * _WIDTH,
            pos_embed_max_size=32,
        )
        pipeline = StableDiffusion3Pipeline(
            transformer=transformer.eval(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
            vae=_vae(latent_channels=16),
            text_encoder=_text_encoder(CLIPTextModelWithProjection, tokenizer),
            tokenizer=tokenizer,
            text_encoder_2=_text_encoder(CLIPTextModelWithProjection, tokenizer),
            tokenizer_2=tokenizer,
            text_encoder_3=_t5(2 * _WIDTH),
            tokenizer_3=T5Tokenizer(vocab=_LETTERS, extra_ids=0),
        )
    pipeline.save_pretrained(folder)
    return folder


def build_tiny_flux(folder: Path) -> Path:
    """Write a Flux checkpoint to folder, the same weights every time, and return folder."""
    with _same_weights():
        tokenizer = _tokenizer()
        transformer = FluxTransformer2DModel(
            in_channels=64,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=_WIDTH,
            pooled_projection_dim=_WIDTH,
            guidance_embeds=True,
            axes_dims_rope=(4, 4, 8),
        )
        pipeline = FluxPipeline(
            transformer=transformer.eval(),
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
            vae=_vae(latent_channels=16),
            text_encoder=_text_encoder(CLIPTextModel, tokenizer),
            tokenizer=tokenizer,
            text_encoder_2=_t5(_WIDTH),
            tokenizer_2=T5Tokenizer(vocab=_LETTERS, extra_ids=0),
        )
    pipeline.save_pretrained(folder)
    return folder


@contextmanager
def _same_weights() -> Iterator[None]:
    """Let what is made at random in the block be the same every time, and leave the tests' own randomness alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        yield


def _tokenizer() -> CLIPTokenizer:
    """Byte-level BPE: every byte is a token, and pairs of letters merge."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = [(a, b) for a in string.ascii_lowercase for b in ["e</w>", "s</w>", "a", "i"]]
    pieces = alphabet + [letter + "</w>" for letter in alphabet] + [a + b for a, b in pairs]
    tokens = [*pieces, "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer({token: index for index, token in enumerate(tokens)}, pairs, model_max_length=77)


def _text_encoder(
    kind: type[CLIPTextModel | CLIPTextModelWithProjection], tokenizer: CLIPTokenizer
) -> CLIPTextModel | CLIPTextModelWithProjection:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=_WIDTH,
        intermediate_size=2 * _WIDTH,
        projection_dim=_WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_factor=2.0,  # so that words differ
    )
    return kind(config).eval()


def _t5(width: int) -> T5EncoderModel:
    config = T5Config(
        vocab_size=len(_LETTERS), d_model=width, d_kv=8, d_ff=width, num_layers=1, num_heads=4, initializer_factor=2.0
    )
    return T5EncoderModel(config).eval()


def _unet(kind: Kind, time_cond_proj_dim: int | None, attends_everywhere: bool) -> UNet2DConditionModel:
    pooled = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": _WIDTH + 6 * 8,
    }
    top = "CrossAttn" if attends_everywhere else ""
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=9 if kind == "inpainting" else 4,
        down_block_types=(f"{top}DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", f"{top}UpBlock2D"),
        block_out_channels=(8, 16, 16),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=4,
        cross_attention_dim=2 * _WIDTH if kind == "xl" else _WIDTH,
        time_cond_proj_dim=time_cond_proj_dim,
        **pooled if kind == "xl" else {},
    )
    return unet.eval()


def _vae(latent_channels: int = 4) -> AutoencoderKL:
    vae = AutoencoderKL(
        latent_channels=latent_channels,
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
        sample_size=64,
        scaling_factor=0.5,
        shift_factor=0.06 if latent_channels == 16 else None,
    )
    return vae.eval()


def _scheduler(prediction_type: str) -> DDIMScheduler:
    """The noise schedule of Stable Diffusion."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction_type,
    )
