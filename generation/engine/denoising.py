"""The denoising step: one UNet call for any number of samples, each of which keeps its own schedule and state."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import SchedulerMixin, UNet2DConditionModel

from generation.engine.inpainting import KeptLatents
from generation.engine.prompts import Conditioning

SMALL_PARAMETERS = 100_000_000  # Stable Diffusion 1 has 860 million, whose calls take as long as they have rows


@dataclass
class Sample:
    """One image on its way: all a step needs to know of it, shared with no other sample."""

    latents: torch.Tensor  # (1, C, h, w)
    scheduler: SchedulerMixin
    timesteps: torch.Tensor  # (T,), on the CPU
    generator: torch.Generator  # on the CPU, so that a seed means the same on every device
    guidance_scale: float
    conditional: Conditioning
    unconditional: Conditioning | None  # None: no guidance at all
    guided_steps: int  # the first ones; the others have no guidance
    time_ids: torch.Tensor | None = None  # (1, 6): original size, crop, target size; XL only
    mask_channels: torch.Tensor | None = None  # (1, 1 + C, h, w): mask and masked image for an inpainting UNet
    kept: KeptLatents | None = None
    position: int = 0  # index of the next timestep
    expected: torch.Tensor | None = None  # (1, C, h, w), the clean latents that the last step foresaw

    def __post_init__(self) -> None:
        offered = {"generator": self.generator, "eta": 0.0}
        taken = inspect.signature(self.scheduler.step).parameters
        self._step_options = {name: value for name, value in offered.items() if name in taken}

    @property
    def is_done(self) -> bool:
        """Whether the schedule has run to its end."""
        return self.position == len(self.timesteps)

    @property
    def guide(self) -> Conditioning | None:
        """What the next step is guided away from, in a second row of the UNet; None where it is not guided."""
        return self.unconditional if self.position < self.guided_steps else None

    @property
    def timestep(self) -> torch.Tensor:
        """The next timestep, a scalar."""
        return self.timesteps[self.position]

    @property
    def draft_latents(self) -> torch.Tensor:
        """The clean latents that it is becoming as far as that is known, (1, C, h, w), without what a mask keeps."""
        return self.latents if self.expected is None else self.expected.to(self.latents.dtype)

    def model_input(self) -> torch.Tensor:
        """Return what the UNet sees of the latents, (1, C_in, h, w)."""
        scaled = self.scheduler.scale_model_input(self.latents, self.timestep)
        return scaled if self.mask_channels is None else torch.cat([scaled, self.mask_channels], dim=1)

    def advance(self, prediction: torch.Tensor) -> None:
        """Take one scheduler step with the guided prediction of the UNet, (1, C, h, w)."""
        stepped = self.scheduler.step(prediction, self.timestep, self.latents, **self._step_options)
        self.latents = stepped.prev_sample.to(self.latents.dtype)
        self.expected = foreseen(stepped, self.scheduler)
        self.position += 1
        if self.kept is not None:
            self.latents = self.kept.restore(self.latents, self.scheduler, None if self.is_done else self.timestep)


def foreseen(stepped: Any, scheduler: SchedulerMixin) -> torch.Tensor | None:
    """Return the clean latents that a scheduler's step was aiming at, (1, C, h, w), where it says them."""
    for name in ("pred_original_sample", "denoised"):
        if getattr(stepped, name, None) is not None:
            return getattr(stepped, name)
    config = scheduler.config
    aims = str(config.get("algorithm_type", "")).endswith("dpmsolver++") or config.get("predict_x0")
    return scheduler.model_outputs[-1] if aims and getattr(scheduler, "model_outputs", None) else None


def evened(rows: int) -> int:
    """Return the least number of rows, not below this one, of which there are few: 1, 2, 3, 4, 6, 8, 12, 16, 20, …"""
    power = 1 << (rows - 1).bit_length()
    step = max(1, power // (8 if power > 16 else 4))
    return -(-rows // step) * step


class Denoiser:
    """Asks a UNet about samples of one latent size and one prompt length together.

    A small UNet on a CPU is asked about a few rows more, up to the next `evened` number: kernels for one more number of
    rows take megabytes and a while to make, while its call takes its time for calling the layers, not for the rows.
    """

    def __init__(self, unet: UNet2DConditionModel):
        self._unet = unet
        self._evens = unet.device.type == "cpu" and unet.num_parameters() < SMALL_PARAMETERS

    def predict(self, samples: Sequence[Sample]) -> list[torch.Tensor]:
        """Return the guided prediction for each sample at its next timestep, (1, C, h, w), with one UNet call."""
        inputs = [(sample, sample.model_input()) for sample in samples]
        rows = [(sample, guide, x) for sample, x in inputs if (guide := sample.guide) is not None]
        guided = len(rows)
        rows += [(sample, sample.conditional, x) for sample, x in inputs]
        asked = len(rows)
        if self._evens:
            rows += rows[-1:] * (evened(asked) - asked)
        predictions = self._predict(rows).split(1)[:asked]

        unconditional = iter(predictions[:guided])
        guided_predictions = []
        for sample, prediction in zip(samples, predictions[guided:], strict=True):
            if sample.guide is not None:
                base = next(unconditional)
                prediction = base + sample.guidance_scale * (prediction - base)
            guided_predictions.append(prediction)
        return guided_predictions

    def _predict(self, rows: list[tuple[Sample, Conditioning, torch.Tensor]]) -> torch.Tensor:
        """Return the UNet's prediction for each row, (rows, C, h, w)."""
        samples = [sample for sample, _, _ in rows]
        conditionings = [conditioning for _, conditioning, _ in rows]
        added = None
        if samples[0].time_ids is not None:
            added = {
                "text_embeds": torch.cat([conditioning.pooled_prompt_embeds for conditioning in conditionings]),
                "time_ids": torch.cat([sample.time_ids for sample in samples]),
            }
        x = torch.cat([x for _, _, x in rows])
        return self._unet(
            x,
            torch.stack([sample.timestep for sample in samples]).to(x.device, torch.float32),
            encoder_hidden_states=torch.cat([conditioning.prompt_embeds for conditioning in conditionings]),
            timestep_cond=self._guidance_embeds(samples, x),
            added_cond_kwargs=added,
            return_dict=False,
        )[0]

    def _guidance_embeds(self, samples: list[Sample], x: torch.Tensor) -> torch.Tensor | None:
        """Return the guidance scales for a UNet that was distilled to take them as an input, (rows, D).

        Source: diffusers LatentConsistencyModelPipeline.get_guidance_scale_embedding.
        """
        size = self._unet.config.time_cond_proj_dim
        if size is None:
            return None
        scales = torch.tensor([sample.guidance_scale - 1 for sample in samples]) * 1000.0
        frequencies = torch.exp(torch.arange(size // 2) * -(torch.log(torch.tensor(10000.0)) / (size // 2 - 1)))
        angles = scales[:, None] * frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=1).to(x.device, x.dtype)
