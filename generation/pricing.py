"""What a generation costs, in whole credits."""

from django.conf import settings

from generation.params import MODES_WITH_IMAGE, Params


def denoising_steps(num_inference_steps: int, strength: float) -> int:
    """Return how many UNet steps really run when a start image is given; at least one.

    Source: diffusers StableDiffusionImg2ImgPipeline.get_timesteps (truncates).
    """
    return max(1, min(int(num_inference_steps * strength), num_inference_steps))


def steps(params: Params) -> int:
    """Return the UNet steps of one image."""
    if params.mode in MODES_WITH_IMAGE:
        return denoising_steps(params.num_inference_steps, params.strength)
    return params.num_inference_steps


def image_credits(params: Params) -> int:
    """Return the price of one image: its pixels × steps, in units of CREDIT_PIXEL_STEPS, rounded up; at least 1."""
    return max(1, -(-params.width * params.height * steps(params) // settings.CREDIT_PIXEL_STEPS))


def credits(params: Params) -> int:
    """Return the price of the whole request."""
    return image_credits(params) * params.samples
