"""Models that their own diffusers pipeline runs: one image after another, through the interface of every engine."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxImg2ImgPipeline,
    FluxInpaintPipeline,
    FluxKontextPipeline,
    FluxPipeline,
    GlmImagePipeline,
    GlmImageTransformer2DModel,
    Kandinsky3Pipeline,
    QwenImagePipeline,
    StableDiffusion3Img2ImgPipeline,
    StableDiffusion3InpaintPipeline,
    StableDiffusion3Pipeline,
)
from PIL import Image

from generation.engine import (
    BrokenLatents,
    Engine,
    EngineSettings,
    ImageRequest,
    OutOfMemory,
    PipelineEngine,
    UnsupportedModel,
    UnsupportedRequest,
    load_model,
)
from generation.engine.choosing import engine_for
from generation.engine.measuring import whole_step_seconds
from tests.engine.tiny_qwen import build_tiny_qwen

PIPELINES = {
    "sd3": {
        "text2img": StableDiffusion3Pipeline,
        "img2img": StableDiffusion3Img2ImgPipeline,
        "inpaint": StableDiffusion3InpaintPipeline,
    },
    "flux": {"text2img": FluxPipeline, "img2img": FluxImg2ImgPipeline, "inpaint": FluxInpaintPipeline},
}


ASKED = {"prompt": "a cat", "negative_prompt": "rain", "width": 64, "height": 64, "num_inference_steps": 4}


def request(**fields: object) -> ImageRequest:
    defaults = {"prompt": "a cat", "width": 64, "height": 64, "num_inference_steps": 4, "seed": 5}
    return ImageRequest(**defaults | fields)  # type: ignore[arg-type]


@pytest.fixture
def engine(tiny_sd3: Path) -> PipelineEngine:
    """An engine of the test's own, since some of these break it."""
    return load_model(EngineSettings(model=str(tiny_sd3), safety="none", dtype="float32"))


@pytest.fixture(params=["sd3", "flux"])
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def of_family(family, engine_sd3, engine_flux):
    return {"sd3": engine_sd3, "flux": engine_flux}[family]


@pytest.mark.parametrize("mode", ["text2img", "img2img", "inpaint"])
def test_the_image_is_that_of_the_diffusers_pipeline(mode, family, of_family, tiny_sd3, tiny_flux, photo, mask):
    folder = {"sd3": tiny_sd3, "flux": tiny_flux}[family]
    pipeline = PIPELINES[family][mode].from_pretrained(folder, dtype=torch.float32)
    pictures = {"image": photo, "strength": 0.6} if mode != "text2img" else {}
    masks = {"mask_image": mask} if mode == "inpaint" else {}

    expected = pipeline(
        **ASKED,
        guidance_scale=5.0,
        generator=torch.Generator().manual_seed(5),
        **pictures,
        **masks,
    ).images[0]
    made = of_family.generate(
        request(mode=mode, negative_prompt="rain", guidance_scale=5.0, strength=0.6, init_image=photo, mask_image=mask)
    ).images[0]

    repainted = np.asarray(mask) >= 128 if mode == "inpaint" else np.ones((64, 64), dtype=bool)
    assert (np.asarray(made)[repainted] == np.asarray(expected)[repainted]).all()
    assert (np.asarray(made)[~repainted] == np.asarray(photo)[~repainted]).all()


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0, 9.0])
def test_qwen_image_is_guided_as_much_as_is_asked_for(tmp_path_factory, guidance_scale):
    folder = build_tiny_qwen(tmp_path_factory.mktemp("tiny_qwen"))
    pipeline = QwenImagePipeline.from_pretrained(folder, dtype=torch.float32)

    expected = pipeline(
        **ASKED,
        true_cfg_scale=guidance_scale,
        generator=torch.Generator().manual_seed(5),
    ).images[0]
    engine = load_model(EngineSettings(model=str(folder), safety="none", dtype="float32"))
    made = engine.generate(request(negative_prompt="rain", guidance_scale=guidance_scale)).images[0]

    assert made.tobytes() == expected.tobytes()


@pytest.mark.parametrize("mode", ["text2img", "img2img"])
def test_each_image_depends_on_its_own_seed_alone(of_family, photo, mode):
    together = of_family.generate(request(mode=mode, init_image=photo, samples=2))
    apart = [of_family.generate(request(mode=mode, init_image=photo, seed=seed)).images[0] for seed in (5, 6)]

    assert together.seeds == [5, 6]
    assert [image.tobytes() for image in together.images] == [image.tobytes() for image in apart]
    assert apart[0].tobytes() != apart[1].tobytes()


def test_one_mode_leaves_nothing_behind_for_the_next(engine, photo, mask):
    before = engine.generate(request()).images[0]
    engine.generate(request(mode="inpaint", init_image=photo, mask_image=mask, strength=0.3))

    assert engine.generate(request()).images[0].tobytes() == before.tobytes()


def test_a_size_that_the_model_cannot_make_is_cut_from_a_larger_one(of_family, photo):
    for fields in ({}, {"mode": "img2img", "init_image": photo}):
        assert of_family.generate(request(width=72, height=40, **fields)).images[0].size == (72, 40)


@pytest.mark.parametrize("side", [512, 520, 528])
def test_glm_image_is_asked_for_sizes_that_it_takes(side):
    sizes = {"attention_head_dim": 8, "num_attention_heads": 2, "time_embed_dim": 8}
    transformer = GlmImageTransformer2DModel(num_layers=1, **sizes)
    networks = dict.fromkeys(("tokenizer", "processor", "text_encoder", "vision_language_encoder", "vae"))
    pipeline = GlmImagePipeline(transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(), **networks)
    engine = PipelineEngine(pipeline, "glm", "local", None)

    asked = engine._arguments(request(width=side, height=side))

    assert asked["width"] == asked["height"] == (512 if side == 512 else 544)
    pipeline.check_inputs("a cat", asked["height"], asked["width"], ["latents"])


@pytest.fixture(scope="module")
def tiny_kontext(tiny_flux, tmp_path_factory) -> Path:
    """A model that chooses the size of its images by itself, unless it is told how many pixels they may have."""
    folder = shutil.copytree(tiny_flux, tmp_path_factory.mktemp("kontext") / "model")
    change(folder, _class_name="FluxKontextPipeline")
    return folder


def of_kontext(folder: Path, max_area: int) -> Image.Image:
    """Return what diffusers makes of an ordinary request for 96 x 48."""
    pipeline = FluxKontextPipeline.from_pretrained(folder, dtype=torch.float32)
    size = {"width": 96, "height": 48, "max_area": max_area}
    seed = torch.Generator().manual_seed(5)
    return pipeline(prompt="a cat", num_inference_steps=4, guidance_scale=7.5, generator=seed, **size).images[0]


def test_a_model_that_chooses_sizes_is_told_the_one_that_is_asked_for(tiny_kontext, photo):
    engine = load_model(EngineSettings(model=str(tiny_kontext), safety="none", dtype="float32"))
    expected = of_kontext(tiny_kontext, max_area=96 * 48)

    made = engine.generate(request(width=96, height=48)).images[0]
    cut = engine.generate(request(width=88, height=40)).images[0]
    edited = engine.generate(request(width=96, height=48, mode="img2img", init_image=photo)).images[0]

    assert made.tobytes() == expected.tobytes()
    assert cut.tobytes() == expected.crop((0, 0, 88, 40)).tobytes()
    assert edited.size == (96, 48)


def test_an_image_of_a_size_of_the_models_own_is_made_smaller_and_not_cut(tiny_kontext, monkeypatch):
    engine = load_model(EngineSettings(model=str(tiny_kontext), safety="none", dtype="float32"))
    whole, arguments = of_kontext(tiny_kontext, max_area=256 * 256), engine._arguments
    monkeypatch.setattr(engine, "_arguments", lambda request: arguments(request) | {"max_area": 256 * 256})

    made = engine.generate(request(width=96, height=48)).images[0]

    assert whole.size == (352, 176)
    assert made.tobytes() == whole.resize((96, 48), Image.Resampling.LANCZOS).tobytes()


def test_the_syntax_of_emphasis_does_not_reach_a_model_that_knows_no_weights(engine_sd3):
    marked, plain = (engine_sd3.generate(request(prompt=p)).images[0] for p in ("a ((red)) [cat]", "a red cat"))

    assert marked.tobytes() == plain.tobytes()


@pytest.mark.parametrize(
    ("fields", "steps"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"samples": 2}, [0, 0, 1, 1, 2, 2, 3, 3, 4]),
        ({"mode": "img2img", "strength": 0.5}, [0, 1, 2]),
        ({"mode": "img2img", "strength": 0.01}, [0, 1]),
    ],
)
def test_it_tells_of_the_steps_of_one_image(engine_sd3, photo, fields, steps):
    seen = []

    engine_sd3.generate(request(init_image=photo, **fields), lambda step, all_steps: seen.append((step, all_steps)))

    assert seen == [(step, steps[-1]) for step in steps]


class Canceled(Exception):
    pass


def test_a_caller_that_cancels_ends_the_work_at_the_next_step(engine):
    seen = []

    def cancel(step: int, steps: int) -> None:
        seen.append(step)
        if step == 2:
            raise Canceled

    before = engine.generate(request()).images[0]
    with pytest.raises(Canceled):
        engine.generate(request(num_inference_steps=9, samples=2), cancel)

    assert seen[-1] == 2
    assert engine.generate(request()).images[0].tobytes() == before.tobytes()


def test_a_mode_that_the_model_lacks_is_refused(engine, photo, mask):
    del engine._pipelines["inpaint"]

    with pytest.raises(UnsupportedRequest, match="knows no inpaint, only text2img and img2img"):
        engine.generate(request(mode="inpaint", init_image=photo, mask_image=mask))


def test_it_keeps_the_scheduler_of_the_model(engine, tiny_sd3):
    own = engine.generate(request(scheduler="FlowMatchEulerDiscreteScheduler")).images[0]

    assert own.tobytes() == engine.generate(request()).images[0].tobytes()
    with pytest.raises(UnsupportedRequest, match="takes no ddim"):
        engine.generate(request(scheduler="ddim"))
    with pytest.raises(UnsupportedRequest, match="leave SCHEDULER empty"):
        load_model(EngineSettings(model=str(tiny_sd3), scheduler="ddim"))


def test_an_unsafe_image_is_black(engine):
    class Strict:
        def is_nsfw(self, images):
            return [True] * len(images)

    engine._safety_checker = Strict()

    result = engine.generate(request(samples=2))
    unchecked = engine.generate(request(safety_checker=False))

    assert (result.nsfw, unchecked.nsfw) == ([True, True], [False])
    assert {image.getextrema() for image in result.images} == {((0, 0),) * 3}


def test_a_model_of_nan_makes_no_image(engine):
    engine._pipeline.transformer.proj_out.bias.data.fill_(float("nan"))

    with pytest.raises(BrokenLatents):
        engine.generate(request())


def test_a_vae_of_nan_makes_no_image(engine):
    engine._pipeline.vae.decoder.conv_out.bias.data.fill_(float("nan"))

    with pytest.raises(BrokenLatents, match="VAE"):
        engine.generate(request())


def test_where_memory_runs_out_it_is_tried_once_more_in_tiles(engine, monkeypatch):
    failures = iter([RuntimeError("CUDA out of memory"), None])
    forward = engine._pipeline.transformer.forward

    def small(*arguments, **named):
        if failure := next(failures, None):
            raise failure
        return forward(*arguments, **named)

    monkeypatch.setattr(engine._pipeline.transformer, "forward", small)

    assert len(engine.generate(request()).images) == 1
    assert engine.saves_memory
    assert engine._pipeline.vae.use_tiling


def test_a_vae_by_another_name_is_tried_once_more_too():
    networks = dict.fromkeys(("tokenizer", "text_encoder", "unet"))
    pipeline = Kandinsky3Pipeline(movq=AutoencoderKL(norm_num_groups=4), scheduler=DDPMScheduler(), **networks)
    engine = PipelineEngine(pipeline, "kandinsky", "local", None)

    engine.save_memory()

    assert engine.saves_memory
    assert pipeline.movq.use_tiling


def test_what_fits_in_no_way_runs_out_of_memory(engine, monkeypatch):
    def full(*arguments, **named):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(engine._pipeline.transformer, "forward", full)

    with pytest.raises(OutOfMemory):
        engine.generate(request())


def test_it_describes_what_it_loaded(engine_sd3, engine_flux, tiny_sd3):
    assert (engine_sd3.model_name, engine_sd3.revision) == (tiny_sd3.name, "local")
    assert (engine_sd3.vae_name, engine_sd3.native_pixels) == ("AutoencoderKL", 64)
    assert engine_sd3.description() == (
        f"{tiny_sd3.name} (local), StableDiffusion3Pipeline, one image at a time, AutoencoderKL, "
        "FlowMatchEulerDiscreteScheduler, cpu, float32"
    )
    assert engine_sd3.facts()["modes"] == "text2img, img2img, inpaint"
    assert engine_flux.native_pixels == 1024
    assert 0 < whole_step_seconds(engine_sd3, 64) < 60


def change(folder: Path, **values: object) -> EngineSettings:
    index = json.loads((folder / "model_index.json").read_text()) | values
    (folder / "model_index.json").write_text(json.dumps(index))
    return EngineSettings(model=str(folder), safety="none")


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("StableDiffusionPipeline", Engine),
        ("StableDiffusionInpaintPipeline", Engine),
        ("StableDiffusionXLImg2ImgPipeline", Engine),
        ("LatentConsistencyModelPipeline", Engine),
        ("StableDiffusion3Pipeline", PipelineEngine),
        ("FluxPipeline", PipelineEngine),
    ],
)
def test_the_kind_of_a_model_decides_which_engine_runs_it(tmp_path, name, engine):
    (tmp_path / "model_index.json").write_text("{}")

    assert engine_for(change(tmp_path, _class_name=name)) is engine


@pytest.mark.parametrize("name", ["WanPipeline", ["pipeline", "MyPipeline"], None])
def test_a_kind_that_makes_no_images_is_refused(tmp_path, name):
    (tmp_path / "model_index.json").write_text("{}")

    with pytest.raises(UnsupportedModel, match="can't be served"):
        load_model(change(tmp_path, _class_name=name))


def test_no_code_of_a_model_is_run(tiny_sd3, tmp_path):
    folder = shutil.copytree(tiny_sd3, tmp_path / "model")
    (folder / "transformer" / "mine.py").write_text("open('ran', 'w')\nclass Mine: pass\n")

    with pytest.raises(UnsupportedModel, match="The transformer of this model is code from 'mine'"):
        load_model(change(folder, transformer=["mine", "Mine"]))


def test_pickled_weights_are_not_read(tiny_sd3, tmp_path):
    folder = shutil.copytree(tiny_sd3, tmp_path / "model")
    weights = next((folder / "transformer").glob("*.safetensors"))
    weights.unlink()
    torch.save({}, folder / "transformer" / "diffusion_pytorch_model.bin")

    with pytest.raises(OSError, match="safetensors"):
        load_model(EngineSettings(model=str(folder), safety="none"))
