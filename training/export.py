"""Write the trained model to generation/starter/ as it ships, in half precision: `python -m training.export`."""

import argparse
import json
import math
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.training_utils import EMAModel
from transformers import CLIPTextModel, CLIPTokenizer

from training import settings, sheet
from training.denoiser import CHECKPOINT, new_unet

LIMIT_BYTES = 60_000_000
GRID = 16  # steps to a standard deviation


def averaged_unet() -> tuple[UNet2DConditionModel, int]:
    """Return the moving average of the UNet's weights at the last checkpoint, and its step."""
    state = torch.load(CHECKPOINT, weights_only=False, map_location="cpu")
    unet = new_unet()
    ema = EMAModel(unet.parameters())
    ema.load_state_dict(state["ema"])
    ema.copy_to(unet.parameters())
    return unet.eval(), state["step"]


def trained_pipeline() -> tuple[StableDiffusionPipeline, int]:
    """Return the pipeline at the last checkpoint, and its step."""
    unet, step = averaged_unet()
    text_encoder = CLIPTextModel.from_pretrained(settings.HOME / "text_encoder")
    return sheet.pipeline(unet, text_encoder, CLIPTokenizer.from_pretrained(settings.HOME / "tokenizer")), step


@torch.no_grad()
def round_weights(unet: UNet2DConditionModel) -> None:
    """Put the weights of each layer on a grid of a power of two, an error of about one in eighty.

    The file stays as large, but git packs it to 23 MB instead of 41, and a clone keeps every version that ever shipped.
    """
    for weight in unet.parameters():
        if weight.dim() > 1:
            step = 2.0 ** math.floor(math.log2(weight.std().item() / GRID))
            weight.copy_((weight / step).round() * step)


def export(folder: Path) -> int:
    """Write the pipeline and return its size in bytes.

    Raises:
        ValueError: it came out too large; it has been written.
    """
    pipeline, step = trained_pipeline()
    round_weights(pipeline.unet)
    pipeline.to(dtype=torch.float16).save_pretrained(folder)
    index = folder / "model_index.json"
    said = json.loads(index.read_text()) | {"cutoff_step_ratio": settings.CUTOFF_STEP_RATIO}
    index.write_text(json.dumps(said, indent=2, sort_keys=True) + "\n")
    for config in folder.glob("*/config.json"):
        without_path = {
            name: value for name, value in json.loads(config.read_text()).items() if name != "_name_or_path"
        }
        config.write_text(json.dumps(without_path, indent=2) + "\n")
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"step {step}, {size / 1e6:.1f} MB in {folder}")
    if size > LIMIT_BYTES:
        raise ValueError(f"{size} bytes, {LIMIT_BYTES} are allowed")
    return size


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=settings.STARTER)
    export(parser.parse_args().folder)
