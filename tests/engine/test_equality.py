"""For one seed, prompt and scheduler, our image is the image of the diffusers pipelines to within one level."""

import json
from functools import cache
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from diffusers.callbacks import SDCFGCutoffCallback, SDXLCFGCutoffCallback
from PIL import Image

from generation.engine import Engine, EngineSettings, ImageRequest
from generation.engine.schedulers import find
from tests.tiny_model import build_tiny_model, cut_guidance_off

PROMPT, NEGATIVE_PROMPT = "a cat on a bench, photograph", "rain, blurry"
SCHEDULERS = [
    "ddim",
    "ddpm",
    "deis",
    "dpmpp_2m",
    "dpmpp_2m_karras",
    "dpmpp_2m_sde",
    "dpmpp_sde",
    "euler",
    "euler_a",
    "heun",
    "kdpm2",
    "kdpm2_a",
    "lcm",
    "lms",
    "lms_karras",
    "pndm",
    "tcd",
    "unipc",
]


@cache
def load_pipeline(pipeline_class: type, folder: Path, dtype: torch.dtype) -> diffusers.DiffusionPipeline:
    pipeline = pipeline_class.from_pretrained(folder, dtype=dtype)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def reference(
    pipeline_class: type, folder: Path, scheduler: str | None = None, dtype: torch.dtype = torch.float32, **call
) -> np.ndarray:
    """Return the image that diffusers makes of a call."""
    pipeline = load_pipeline(pipeline_class, folder, dtype)
    kind, settings = find(scheduler or "ddim")
    default = diffusers.DDIMScheduler.from_pretrained(folder, subfolder="scheduler")
    pipeline.scheduler = kind.from_config(default.config, clip_sample=False, skip_prk_steps=True, **settings)
    seed = call.pop("seed", 5)
    defaults = {"prompt": PROMPT, "negative_prompt": NEGATIVE_PROMPT, "num_inference_steps": 6, "guidance_scale": 7.5}
    image = pipeline(**defaults | call, generator=torch.Generator("cpu").manual_seed(seed)).images[0]
    return np.asarray(image).astype(int)


def ours(engine: Engine, **fields) -> np.ndarray:
    """Return the image that the engine makes of a request."""
    request = {
        "prompt": PROMPT,
        "negative_prompt": NEGATIVE_PROMPT,
        "num_inference_steps": 6,
        "width": 64,
        "height": 64,
        "seed": 5,
    }
    return np.asarray(engine.generate(ImageRequest(**request | fields)).images[0]).astype(int)


def assert_equal(image: np.ndarray, expected: np.ndarray) -> None:
    assert expected.std() > 20, "the reference is too plain to tell anything"
    assert np.abs(image - expected).max() <= 1


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_it_makes_the_text2img_image_of_diffusers(engine, tiny, scheduler):
    expected = reference(diffusers.StableDiffusionPipeline, tiny, scheduler, height=64, width=64)

    assert_equal(ours(engine, scheduler=scheduler), expected)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_it_makes_the_img2img_image_of_diffusers(engine, tiny, photo, scheduler):
    expected = reference(diffusers.StableDiffusionImg2ImgPipeline, tiny, scheduler, image=photo, strength=0.7)

    assert_equal(ours(engine, mode="img2img", init_image=photo, strength=0.7, scheduler=scheduler), expected)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_it_makes_the_inpaint_image_of_diffusers_inside_the_mask(engine, tiny, photo, mask, scheduler):
    call = {"image": photo, "mask_image": mask, "strength": 0.7, "height": 64, "width": 64}
    expected = reference(diffusers.StableDiffusionInpaintPipeline, tiny, scheduler, **call)

    image = ours(engine, mode="inpaint", init_image=photo, mask_image=mask, strength=0.7, scheduler=scheduler)

    white = np.asarray(mask) > 0
    assert_equal(image[white], expected[white])


@pytest.mark.parametrize("strength", [0.17, 0.5, 0.99, 1.0])
def test_it_makes_the_img2img_image_of_diffusers_at_any_strength(engine, tiny, photo, strength):
    expected = reference(diffusers.StableDiffusionImg2ImgPipeline, tiny, "euler_a", image=photo, strength=strength)

    assert_equal(ours(engine, mode="img2img", init_image=photo, strength=strength, scheduler="euler_a"), expected)


@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize("scheduler", ["ddim", "euler_a"])
def test_it_makes_the_image_of_diffusers_with_an_inpainting_unet(
    engine_inpainting, tiny_inpainting, photo, mask, scheduler, strength
):
    call = {"image": photo, "mask_image": mask, "strength": strength, "height": 64, "width": 64}
    expected = reference(diffusers.StableDiffusionInpaintPipeline, tiny_inpainting, scheduler, **call)

    image = ours(
        engine_inpainting, mode="inpaint", init_image=photo, mask_image=mask, strength=strength, scheduler=scheduler
    )

    white = np.asarray(mask) > 0
    assert_equal(image[white], expected[white])


def test_it_makes_the_image_of_diffusers_when_inpainting_at_full_strength(engine, tiny, photo, mask):
    call = {"image": photo, "mask_image": mask, "strength": 1.0, "height": 64, "width": 64}
    expected = reference(diffusers.StableDiffusionInpaintPipeline, tiny, "euler_a", **call)

    image = ours(engine, mode="inpaint", init_image=photo, mask_image=mask, strength=1.0, scheduler="euler_a")

    white = np.asarray(mask) > 0
    assert_equal(image[white], expected[white])


@pytest.mark.parametrize("scheduler", ["ddim", "heun", "unipc"])
def test_it_makes_the_image_of_diffusers_with_v_prediction(tiny_v_prediction, scheduler):
    engine = Engine.load(EngineSettings(model=str(tiny_v_prediction), safety="none", dtype="float32"))
    expected = reference(diffusers.StableDiffusionPipeline, tiny_v_prediction, scheduler, height=64, width=64)

    assert_equal(ours(engine, scheduler=scheduler), expected)


@pytest.mark.parametrize("negative_prompt", [NEGATIVE_PROMPT, None])
def test_it_makes_the_xl_text2img_image_of_diffusers(engine_xl, tiny_xl, negative_prompt):
    call = {"height": 64, "width": 72, "negative_prompt": negative_prompt}
    expected = reference(diffusers.StableDiffusionXLPipeline, tiny_xl, "euler", **call)

    assert_equal(ours(engine_xl, width=72, scheduler="euler", negative_prompt=negative_prompt or ""), expected)


def test_it_makes_the_xl_img2img_image_of_diffusers(engine_xl, tiny_xl, photo):
    expected = reference(diffusers.StableDiffusionXLImg2ImgPipeline, tiny_xl, "euler_a", image=photo, strength=0.6)

    assert_equal(ours(engine_xl, mode="img2img", init_image=photo, strength=0.6, scheduler="euler_a"), expected)


def test_it_makes_the_xl_inpaint_image_of_diffusers(engine_xl, tiny_xl, photo, mask):
    call = {"image": photo, "mask_image": mask, "strength": 0.6, "height": 64, "width": 64}
    expected = reference(diffusers.StableDiffusionXLInpaintPipeline, tiny_xl, "euler_a", **call)

    image = ours(engine_xl, mode="inpaint", init_image=photo, mask_image=mask, strength=0.6, scheduler="euler_a")

    white = np.asarray(mask) > 0
    assert_equal(image[white], expected[white])


@pytest.mark.parametrize(("width", "height"), [(72, 88), (128, 64), (104, 136)])
def test_it_makes_the_image_of_diffusers_at_sizes_that_halve_unevenly(engine, tiny, width, height):
    expected = reference(diffusers.StableDiffusionPipeline, tiny, "ddim", width=width, height=height)

    assert_equal(ours(engine, scheduler="ddim", width=width, height=height), expected)


def test_it_makes_the_image_of_diffusers_without_guidance(engine, tiny):
    expected = reference(diffusers.StableDiffusionPipeline, tiny, height=64, width=64, guidance_scale=1.0)

    assert_equal(ours(engine, guidance_scale=1.0), expected)


@pytest.mark.parametrize("steps", [1, 5, 6])
@pytest.mark.parametrize("scheduler", ["dpmpp_2m", "euler_a", "heun"])
def test_it_makes_the_image_of_diffusers_where_guidance_ends_before_the_last_step(tmp_path, scheduler, steps):
    folder = cut_guidance_off(build_tiny_model(tmp_path), 0.5)
    engine = Engine.load(EngineSettings(model=str(folder), safety="none", dtype="float32"))
    call = {"height": 64, "width": 64, "num_inference_steps": steps}
    cutoff = SDCFGCutoffCallback(cutoff_step_ratio=0.5)
    expected = reference(diffusers.StableDiffusionPipeline, folder, scheduler, callback_on_step_end=cutoff, **call)

    assert_equal(ours(engine, scheduler=scheduler, num_inference_steps=steps), expected)


def test_it_makes_the_xl_image_of_diffusers_where_guidance_ends_before_the_last_step(tmp_path):
    folder = cut_guidance_off(build_tiny_model(tmp_path, "xl"), 0.25)
    engine = Engine.load(EngineSettings(model=str(folder), safety="none", dtype="float32"))
    cutoff = SDXLCFGCutoffCallback(cutoff_step_ratio=0.25)
    expected = reference(
        diffusers.StableDiffusionXLPipeline, folder, "euler", height=64, width=64, callback_on_step_end=cutoff
    )

    assert_equal(ours(engine, scheduler="euler"), expected)


def test_it_makes_the_image_of_diffusers_with_a_unet_that_takes_guidance_as_input(tmp_path):
    folder = build_tiny_model(tmp_path, time_cond_proj_dim=16)
    engine = Engine.load(EngineSettings(model=str(folder), safety="none", scheduler="lcm", dtype="float32"))
    expected = reference(diffusers.StableDiffusionPipeline, folder, "lcm", height=64, width=64)

    assert_equal(ours(engine), expected)


@pytest.fixture(scope="module")
def tiny_lcm(tmp_path_factory) -> Path:
    """A latent consistency model, of which diffusers has pipelines of its own."""
    folder = build_tiny_model(tmp_path_factory.mktemp("tiny_lcm"), time_cond_proj_dim=16)
    own = diffusers.DDIMScheduler.from_pretrained(folder, subfolder="scheduler")
    diffusers.LCMScheduler.from_config(own.config, clip_sample=False).save_pretrained(folder / "scheduler")
    names = {"_class_name": "LatentConsistencyModelPipeline", "scheduler": ["diffusers", "LCMScheduler"]}
    index = folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | names))
    return folder


@pytest.mark.parametrize(
    ("steps", "strength", "run"), [(4, 1.0, 4), (4, 0.7, 2), (8, 0.5, 4), (4, 0.02, 1), (49, 0.98, 48), (51, 0.5, 25)]
)
def test_it_makes_the_lcm_img2img_image_that_diffusers_makes_of_as_many_steps(tiny_lcm, photo, steps, strength, run):
    engine = Engine.load(EngineSettings(model=str(tiny_lcm), safety="none", dtype="float32"))
    pipeline = load_pipeline(diffusers.LatentConsistencyModelImg2ImgPipeline, tiny_lcm, torch.float32)
    seen = []

    expected = pipeline(
        prompt=PROMPT,
        image=photo,
        strength=strength,
        num_inference_steps=run,
        original_inference_steps=max(50, steps),
        guidance_scale=7.5,
        generator=torch.Generator("cpu").manual_seed(5),
    ).images[0]
    asked = ImageRequest(
        mode="img2img",
        prompt=PROMPT,
        init_image=photo,
        strength=strength,
        num_inference_steps=steps,
        width=64,
        height=64,
        seed=5,
    )
    image = engine.generate(asked, lambda step, steps: seen.append(step)).images[0]

    assert_equal(np.asarray(image).astype(int), np.asarray(expected).astype(int))
    assert seen == list(range(run + 1))


def test_an_lcm_takes_any_strength_any_number_of_steps_and_any_scheduler(tiny_lcm, photo, mask):
    engine = Engine.load(EngineSettings(model=str(tiny_lcm), safety="none", dtype="float32"))

    for fields in (
        {"mode": "img2img", "strength": 0.001},
        {"mode": "img2img", "num_inference_steps": 51},
        {"mode": "img2img", "num_inference_steps": 51, "scheduler": "euler"},
        {"mode": "inpaint", "mask_image": mask},
    ):
        assert ours(engine, init_image=photo, **fields).std() > 0


def test_it_makes_the_image_of_diffusers_in_bfloat16(tiny):
    engine = Engine.load(EngineSettings(model=str(tiny), safety="none", dtype="bfloat16"))
    call = {"height": 64, "width": 64, "guidance_scale": 1.0}  # one row, as bfloat16 rounds a batch differently
    expected = reference(diffusers.StableDiffusionPipeline, tiny, dtype=torch.bfloat16, **call)

    assert_equal(ours(engine, guidance_scale=1.0), expected)


@pytest.mark.parametrize("kind", ["sd", "xl"])
def test_it_makes_the_image_of_diffusers_with_a_scheduler_without_offset(tmp_path, kind):
    folder = build_tiny_model(tmp_path, kind)
    config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(config | {"steps_offset": 0}))
    engine = Engine.load(EngineSettings(model=str(folder), safety="none", dtype="float32"))
    pipeline_class = {"sd": diffusers.StableDiffusionPipeline, "xl": diffusers.StableDiffusionXLPipeline}[kind]
    pipeline = load_pipeline(pipeline_class, folder, torch.float32)  # which keeps the model's own scheduler

    call = {"prompt": PROMPT, "negative_prompt": NEGATIVE_PROMPT, "num_inference_steps": 6, "guidance_scale": 7.5}
    expected = pipeline(**call, width=64, height=64, generator=torch.Generator("cpu").manual_seed(5)).images[0]

    assert_equal(ours(engine), np.asarray(expected).astype(int))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("mode", ["text2img", "img2img", "inpaint"])
def test_it_makes_the_xl_image_of_diffusers_in_half_precision(tiny_xl, photo, mask, mode, dtype):
    engine = Engine.load(EngineSettings(model=str(tiny_xl), safety="none", dtype=dtype))
    kinds = {
        "text2img": diffusers.StableDiffusionXLPipeline,
        "img2img": diffusers.StableDiffusionXLImg2ImgPipeline,
        "inpaint": diffusers.StableDiffusionXLInpaintPipeline,
    }
    picture = {"image": photo, "strength": 0.4} if mode != "text2img" else {}
    masks = {"mask_image": mask} if mode == "inpaint" else {}
    size = {"height": 64, "width": 64} if mode != "img2img" else {}

    expected = reference(
        kinds[mode], tiny_xl, dtype=getattr(torch, dtype), guidance_scale=1.0, **size, **picture, **masks
    )
    image = ours(engine, mode=mode, init_image=photo, mask_image=mask, strength=0.4, guidance_scale=1.0)

    white = np.asarray(mask) > 0 if mode == "inpaint" else np.ones((64, 64), dtype=bool)
    assert np.abs(image - expected)[white].max() <= {"float16": 1, "bfloat16": 2}[dtype]  # a bfloat16 next to it


def test_it_uses_the_scheduler_of_the_checkpoint_unless_told_otherwise(engine, tiny):
    assert_equal(ours(engine), reference(diffusers.StableDiffusionPipeline, tiny, height=64, width=64))
    assert np.abs(ours(engine) - ours(engine, scheduler="euler_a")).max() > 10


def test_it_takes_the_picture_as_it_is_when_its_size_fits(engine, photo):
    larger = photo.resize((128, 64), Image.Resampling.NEAREST)

    image = ours(engine, mode="img2img", init_image=larger, strength=0.4)

    cropped = larger.crop((32, 0, 96, 64))
    assert np.array_equal(image, ours(engine, mode="img2img", init_image=cropped, strength=0.4))
