"""Writes tiny Qwen-Image checkpoints with random weights."""

import string
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)
from tokenizers import pre_tokenizers
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer

WIDTH = 16


def build_tiny_qwen(folder: Path) -> Path:
    """Write a Qwen-Image checkpoint to folder, the same weights every time, and return folder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        pairs = [(a, b) for a in string.ascii_lowercase for b in "aeiou"]
        tokens = [*alphabet, *(a + b for a, b in pairs), "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
        tokenizer = Qwen2Tokenizer({token: index for index, token in enumerate(tokens)}, pairs)
        text = {
            "vocab_size": len(tokenizer),
            "hidden_size": WIDTH,
            "intermediate_size": WIDTH,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            **dict.fromkeys(("bos_token_id", "eos_token_id"), tokenizer.eos_token_id),
            "rope_parameters": {"type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e6},
        }
        widths = dict.fromkeys(("hidden_size", "intermediate_size", "out_hidden_size"), WIDTH)
        vision = {"depth": 1, "num_heads": 2, **widths}
        transformer = QwenImageTransformer2DModel(
            in_channels=16,
            out_channels=4,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            axes_dims_rope=(8, 4, 4),
        )
        vae = AutoencoderKLQwenImage(
            base_dim=8,
            z_dim=4,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            temperal_downsample=[False, True, True],
            latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4,
        )
        pipeline = QwenImagePipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
            vae=vae.eval(),
            text_encoder=Qwen2_5_VLForConditionalGeneration(
                Qwen2_5_VLConfig(text_config=text, vision_config=vision)
            ).eval(),
            tokenizer=tokenizer,
            transformer=transformer.eval(),
        )
    pipeline.save_pretrained(folder)
    return folder
