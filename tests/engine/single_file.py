"""Writes a tiny checkpoint the way single-file checkpoints are: in the names of the original Stable Diffusion code."""

import re
from pathlib import Path

from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextModel

# Of the tiny UNet: three levels of one layer, the first two with attention.
_UNET_BLOCKS = {
    "conv_in": "input_blocks.0.0",
    "down_blocks.0.resnets.0": "input_blocks.1.0",
    "down_blocks.0.attentions.0": "input_blocks.1.1",
    "down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op",
    "down_blocks.1.resnets.0": "input_blocks.3.0",
    "down_blocks.1.attentions.0": "input_blocks.3.1",
    "down_blocks.1.downsamplers.0.conv": "input_blocks.4.0.op",
    "down_blocks.2.resnets.0": "input_blocks.5.0",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
    "up_blocks.0.resnets.0": "output_blocks.0.0",
    "up_blocks.0.resnets.1": "output_blocks.1.0",
    "up_blocks.0.upsamplers.0": "output_blocks.1.1",
    "up_blocks.1.resnets.0": "output_blocks.2.0",
    "up_blocks.1.attentions.0": "output_blocks.2.1",
    "up_blocks.1.resnets.1": "output_blocks.3.0",
    "up_blocks.1.attentions.1": "output_blocks.3.1",
    "up_blocks.1.upsamplers.0": "output_blocks.3.2",
    "up_blocks.2.resnets.0": "output_blocks.4.0",
    "up_blocks.2.attentions.0": "output_blocks.4.1",
    "up_blocks.2.resnets.1": "output_blocks.5.0",
    "up_blocks.2.attentions.1": "output_blocks.5.1",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
}
_UNET_LAYERS = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_VAE_NAMES = [
    (r"(encoder|decoder)\.mid_block\.resnets\.0", r"\1.mid.block_1"),
    (r"(encoder|decoder)\.mid_block\.resnets\.1", r"\1.mid.block_2"),
    (r"(encoder|decoder)\.mid_block\.attentions\.0", r"\1.mid.attn_1"),
    (r"encoder\.down_blocks\.(\d)\.resnets\.(\d)", r"encoder.down.\1.block.\2"),
    (r"encoder\.down_blocks\.(\d)\.downsamplers\.0", r"encoder.down.\1.downsample"),
    (r"conv_norm_out", "norm_out"),
    (r"conv_shortcut", "nin_shortcut"),
    (r"attn_1\.group_norm", "attn_1.norm"),
    (r"attn_1\.to_([qkv])", r"attn_1.\1"),
    (r"attn_1\.to_out\.0", "attn_1.proj_out"),
]


def write_single_file(folder: Path, path: Path) -> Path:
    """Write the tiny checkpoint of a folder into one file at path, and return path."""
    unet = UNet2DConditionModel.from_pretrained(folder / "unet").state_dict()
    vae = AutoencoderKL.from_pretrained(folder / "vae").state_dict()
    text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder").state_dict()
    tensors = {f"model.diffusion_model.{_unet_name(name)}": tensor for name, tensor in unet.items()}
    tensors |= {f"first_stage_model.{_vae_name(name)}": tensor for name, tensor in vae.items()}
    tensors |= {f"cond_stage_model.transformer.text_model.{name}": tensor for name, tensor in text_encoder.items()}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


def _unet_name(name: str) -> str:
    block = max((block for block in _UNET_BLOCKS if name.startswith(block + ".")), key=len)
    rest = name.removeprefix(block)
    if "resnets" in block:
        layer, kind = rest[1:].rsplit(".", 1)
        rest = f".{_UNET_LAYERS[layer]}.{kind}"
    return _UNET_BLOCKS[block] + rest


def _vae_name(name: str) -> str:
    for pattern, replacement in _VAE_NAMES:
        name = re.sub(pattern, replacement, name)
    # The original decoder counts its levels from the last.
    name = re.sub(r"decoder\.up_blocks\.(\d)\.resnets", lambda found: f"decoder.up.{3 - int(found[1])}.block", name)
    return re.sub(
        r"decoder\.up_blocks\.(\d)\.upsamplers\.0", lambda found: f"decoder.up.{3 - int(found[1])}.upsample", name
    )
