"""Train the UNet, from the last checkpoint if there is one: `python -m training.denoiser [--start-from unet/]`.

With `--first-step` a run goes on from weights alone, where their checkpoint is gone.

All randomness of a step comes from its number, so a run that was stopped goes on exactly as if it had not been.
"""

import argparse
import os
import random
import signal
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.training_utils import EMAModel, compute_snr
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from training import settings, sheet
from training.captions import caption, nothing
from training.latents import Latents, load

CHECKPOINT = settings.HOME / "denoiser.pt"
NOISE = {"beta_schedule": "scaled_linear", "beta_start": settings.BETA_START, "beta_end": settings.BETA_END}
NOISE |= {"prediction_type": "v_prediction"}
# Where the processor multiplies bfloat16 itself it is half as fast again; elsewhere it is emulated, and slow.
BFLOAT16 = bool({"avx512_bf16", "amx_bf16"} & {name for name, there in torch.cpu.get_capabilities().items() if there})


def new_unet() -> UNet2DConditionModel:
    """Return the UNet before any training.

    The pooled text joins the timestep's embedding and so scales every layer, which is learnt much sooner than attention
    to the words; that is left where it is cheap. Five levels lead a picture of 256 x 256 down to a single latent, from
    where the text alone can lay it out: a convolution knows no places, except where there is an edge nearby.
    """
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=32,
        out_channels=32,
        layers_per_block=1,
        block_out_channels=settings.BLOCK_OUT_CHANNELS,
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        mid_block_type="UNetMidBlock2D",
        up_block_types=("UpBlock2D", "UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        cross_attention_dim=settings.TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
        resnet_time_scale_shift="scale_shift",
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
    )


def start_from(unet: UNet2DConditionModel, folder: Path) -> None:
    """Take over every weight of another UNet that has a place of the same name and shape in this one."""
    there, here = UNet2DConditionModel.from_pretrained(folder).state_dict(), unet.state_dict()
    shared = {name: weight for name, weight in there.items() if name in here and weight.shape == here[name].shape}
    unet.load_state_dict(shared, strict=False)
    share = sum(weight.numel() for weight in shared.values()) / unet.num_parameters()
    print(f"{share:.0%} of the weights from {folder}")


class Batches:
    """Latents with their captions, a batch for each step's number."""

    def __init__(self, latents: Latents):
        self.latents = latents
        first = set((Path(__file__).parent / "first.txt").read_text().splitlines())
        self.weights = [
            settings.STYLE_WEIGHTS[style] * (1.0 if subject.label in first else settings.OTHERS_WEIGHT)
            for subject, style in latents.pictures
        ]

    def __call__(self, step: int) -> tuple[Tensor, list[str]]:
        """Return latents (B, 32, h, w) and B captions."""
        rng = random.Random(f"{settings.SEED} {step}")
        large = step % settings.LARGE_EVERY == settings.LARGE_EVERY - 1
        pixels, size = (512, settings.BATCH // 4) if large else (256, settings.BATCH)
        pool, backgrounds = self.latents.sizes[pixels], self.latents.backgrounds[pixels]
        chosen = [(rng.randrange(len(pool)), n) for n in rng.choices(range(pool.shape[1]), self.weights, k=size)]
        texts = [caption(*self.latents.pictures[n], backgrounds[v][n], rng).text for v, n in chosen]
        texts = [nothing(rng) if rng.random() < settings.EMPTY_CAPTIONS else text for text in texts]
        return torch.stack([pool[v, n] for v, n in chosen]).float(), texts


class Gradients:
    """The gradients of a batch, each thread working out those of its share of the pictures.

    Threads that meet once a step lose little on a machine that does other work too; those that torch would put on every
    single operation wait for each other all the time.
    """

    def __init__(
        self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, threads: Executor
    ):
        self.text_encoder, self.tokenizer = text_encoder, tokenizer
        self.unet, self.parameters = unet, list(unet.parameters())
        self.scheduler = DDPMScheduler(**NOISE)
        self.threads = threads

    def __call__(self, clean: Tensor, texts: list[str], step: int) -> Tensor:
        """Set the gradients of the UNet to those of one step, and return the loss."""
        generator = torch.Generator().manual_seed(settings.SEED * 10**9 + step)
        noise = torch.randn(clean.shape, generator=generator)
        # One timestep from each of B equal spans, which vary less than B independent ones; most are noisy, where it is
        # decided what there is.
        spans = torch.arange(len(clean)) + torch.rand(len(clean), generator=generator)
        timesteps = ((spans / len(clean)) ** noisy_power(step) * self.scheduler.config.num_train_timesteps).long()
        ids = self.tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        shares = [
            [tensor[first :: settings.THREADS] for tensor in (clean, noise, timesteps, ids)]
            for first in range(min(settings.THREADS, len(clean)))
        ]
        done = list(self.threads.map(lambda share: self.of(*share, len(clean)), shares))
        loss, total = done[0]
        for other, gradients in done[1:]:
            loss = loss + other
            torch._foreach_add_(total, gradients)
        for parameter, gradient in zip(self.parameters, total, strict=True):
            parameter.grad = gradient
        return loss

    def of(
        self, clean: Tensor, noise: Tensor, timesteps: Tensor, ids: Tensor, pictures: int
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the part of the loss that some of a batch's pictures have, and its gradients.

        The loss is the squared error of v, with the nearly noiseless timesteps held down.

        Source: Hang et al., "Efficient Diffusion Training via Min-SNR Weighting Strategy", 2023, for noise prediction;
        with v it leaves full weight to the noisy timesteps, where the caption decides what there is.
        """
        noisy = self.scheduler.add_noise(clean, noise, timesteps)
        target = self.scheduler.get_velocity(clean, noise, timesteps)
        with torch.autocast("cpu", torch.bfloat16, enabled=BFLOAT16):
            with torch.no_grad():  # the text encoder is not trained here
                states = self.text_encoder(ids).last_hidden_state
            velocity = self.unet(noisy, timesteps, states).sample
        error = (velocity.float() - target).square().mean((1, 2, 3))
        snr = compute_snr(self.scheduler, timesteps)
        loss = (error * snr.clamp(max=settings.MIN_SNR_GAMMA) / snr).sum() / pictures
        return loss.detach(), list(torch.autograd.grad(loss, self.parameters))


def noisy_power(step: int) -> float:
    """Return the power of evenly drawn timesteps, as shares of all, that a step has: nearly all noise at first.

    What a text looks like is only learnt where nothing of the picture is left to go by, and takes longest.
    """
    begun = (step - settings.NOISE_ONLY_STEPS) / settings.NOISE_RAMP_STEPS
    return settings.NOISY_POWERS[0] + min(1.0, max(0.0, begun)) * (settings.NOISY_POWERS[1] - settings.NOISY_POWERS[0])


def share_of_rate(step: int, first_step: int) -> float:
    """Return what share of the learning rates a step has: linear warm-up, all, linear cool-down to nothing."""
    warmup = (step - first_step + 1) / settings.WARMUP_STEPS
    cooldown = (settings.STEPS - step) / settings.COOLDOWN_STEPS
    return min(1.0, warmup, cooldown)


def save(state: dict[str, Any]) -> None:
    """Write the checkpoint whole or not at all."""
    partial = CHECKPOINT.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, CHECKPOINT)


def train(start_folder: Path | None = None, first_step: int = 0) -> None:
    """Train to the last step, or until the process is asked to end; the checkpoint is current then."""
    torch.manual_seed(settings.SEED)
    torch.set_num_threads(settings.THREADS)
    torch.set_flush_denormal(True)
    unet = new_unet()
    if start_folder:
        start_from(unet, start_folder)
    ema = EMAModel(unet.parameters(), decay=settings.EMA_DECAY, use_ema_warmup=True, power=0.75, foreach=True)
    threads = ThreadPoolExecutor(settings.THREADS, initializer=torch.set_num_threads, initargs=(1,))
    optimizer = torch.optim.AdamW(unet.parameters(), betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    step, seconds, smooth = first_step, 0.0, None
    if CHECKPOINT.exists():
        state = torch.load(CHECKPOINT, weights_only=False)
        unet.load_state_dict(state["unet"])
        ema.load_state_dict(state["ema"])
        optimizer.load_state_dict(state["optimizer"])
        step, seconds, smooth = state["step"], state["seconds"], state["loss"]
        first_step = state["first_step"]
    tokenizer = CLIPTokenizer.from_pretrained(settings.HOME / "tokenizer")
    text_encoder = CLIPTextModel.from_pretrained(settings.HOME / "text_encoder", dtype=torch.float32).eval()
    batches, gradients = Batches(load()), Gradients(unet, text_encoder, tokenizer, threads)

    def checkpoint() -> None:
        save(
            {
                "unet": unet.state_dict(),
                "ema": ema.state_dict(),
                "optimizer": optimizer.state_dict(),
                "first_step": first_step,
                "step": step,
                "seconds": seconds + time.time() - begun,
                "loss": smooth,
            }
        )

    asked_to_end: list[int] = []
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda number, _: asked_to_end.append(number))
    begun = saved = shown = drawn = time.time()
    images = 0
    while step < settings.STEPS and not asked_to_end:
        clean, texts = batches(step)
        loss = gradients(clean, texts, step)
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = settings.LEARNING_RATE * share_of_rate(step, first_step)
        optimizer.step()
        ema.step(unet.parameters())
        step, images = step + 1, images + clean[0].numel() * len(clean) // (32 * 16 * 16)
        smooth = loss.item() if smooth is None else 0.99 * smooth + 0.01 * loss.item()
        now = time.time()
        if step % 25 == 0:
            rate, left = images / (now - shown), (settings.STEPS - step) * (now - shown) / 25 / 3600
            print(f"step {step} loss {smooth:.4f} {rate:.1f} img/s {left:.1f} h left", flush=True)
            shown, images = now, 0
        if now - saved > settings.CHECKPOINT_SECONDS:
            checkpoint()
            saved = now
        if now - drawn > settings.SHEET_SECONDS:
            ema.store(unet.parameters())
            ema.copy_to(unet.parameters())
            pipeline = sheet.pipeline(unet, text_encoder, tokenizer)
            sheet.draw(pipeline, sheet.PROMPTS).save(settings.HOME / f"sheet-{step:06d}.png")
            ema.restore(unet.parameters())
            drawn = time.time()
    checkpoint()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start-from", type=Path, help="folder of a UNet whose weights to begin with, where they fit")
    parser.add_argument("--first-step", type=int, default=0, help="from which a new run counts, in the schedules too")
    arguments = parser.parse_args()
    train(arguments.start_from, arguments.first_step)
