"""Contact sheets: many prompts on one picture, for the eye."""

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextModel, CLIPTokenizer

from generation.engine.patch_autoencoder import PatchAutoencoder
from training import settings
from training.latents import autoencoder_folder

PROMPTS = (
    *("a cat", "a photo of a dog", "a lion", "an elephant", "a red apple", "pizza", "a slice of cake", "a banana"),
    *(
        "smiling face with sunglasses",
        "a robot",
        "a sports car",
        "a bus",
        "an airplane",
        "a rocket on a blue background",
    ),
    *(
        "a house",
        "a rose",
        "a guitar",
        "flat icon of a fish",
        "flat icon of an owl",
        "kitten, highly detailed, best quality",
    ),
)


def pipeline(
    unet: UNet2DConditionModel, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer
) -> StableDiffusionPipeline:
    """Return the pipeline as it ships."""
    scheduler = DPMSolverMultistepScheduler(
        beta_schedule="scaled_linear",
        beta_start=settings.BETA_START,
        beta_end=settings.BETA_END,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        steps_offset=1,  # without effect here; pipelines warn when it is 0
    )
    made = StableDiffusionPipeline(
        vae=PatchAutoencoder.from_pretrained(autoencoder_folder(), dtype=torch.float32),
        unet=unet,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    made.set_progress_bar_config(disable=True)
    return made


def draw(
    made_by: StableDiffusionPipeline, prompts: tuple[str, ...], columns: int = 5, pixels: int = 256
) -> Image.Image:
    """Return one picture of each prompt, in 20 steps and from the same seed."""
    size = {"width": pixels, "height": pixels, "num_inference_steps": 20}
    images = [made_by(prompt, generator=torch.Generator().manual_seed(0), **size).images[0] for prompt in prompts]
    return grid(images, columns)


def grid(images: list[Image.Image], columns: int) -> Image.Image:
    """Return images of one size side by side, row after row."""
    width, height = images[0].size
    whole = Image.new("RGB", (width * min(columns, len(images)), height * -(-len(images) // columns)), "white")
    for number, image in enumerate(images):
        whole.paste(image, (number % columns * width, number // columns * height))
    return whole
