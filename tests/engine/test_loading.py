"""Which checkpoints load, where, and in which precision."""

import json
import shutil

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

from generation.engine import Engine, EngineSettings, ImageRequest, UnsupportedModel
from generation.engine.loading import choose_device, choose_dtype, load_checkpoint, served_name
from tests.engine.single_file import write_single_file


def test_it_describes_what_it_loaded(tiny, engine, engine_xl, engine_inpainting):
    assert engine.model_name == tiny.name
    assert engine.revision == "local"
    assert engine.vae_name == "AutoencoderKL"
    assert engine.description() == f"{tiny.name} (local), SD, AutoencoderKL 1/8, DDIMScheduler, cpu, float32"
    assert "SDXL," in engine_xl.description()
    assert "SD inpainting," in engine_inpainting.description()


def test_it_takes_a_scheduler_from_the_settings(tiny):
    engine = Engine.load(EngineSettings(model=str(tiny), safety="none", scheduler="dpmpp_2m_karras"))

    assert "DPMSolverMultistepScheduler" in engine.description()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_it_loads_in_the_precision_asked_for(tiny, dtype):
    checkpoint = load_checkpoint(EngineSettings(model=str(tiny), dtype=dtype))

    found = {part.dtype for part in (checkpoint.unet, checkpoint.vae, *checkpoint.text_encoders)}
    assert found == {getattr(torch, dtype)}


def test_it_keeps_the_xl_autoencoder_in_float32(tiny_xl):
    checkpoint = load_checkpoint(EngineSettings(model=str(tiny_xl), dtype="float16"))

    assert checkpoint.vae.dtype == torch.float32
    assert checkpoint.unet.dtype == torch.float16


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_it_chooses_half_precision_on_accelerators(device):
    assert choose_dtype("auto", torch.device(device)) == torch.float16


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [
        ({"avx2": True, "avx512_bf16": False}, torch.float32),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({}, torch.float32),
    ],
)
def test_it_chooses_bfloat16_on_processors_that_multiply_it_themselves(capabilities, dtype, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)

    assert choose_dtype("auto", torch.device("cpu")) == dtype


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_part_that_is_stored_without_the_variant_is_read_as_it_is(tiny, tmp_path, engine, part):
    StableDiffusionPipeline.from_pretrained(tiny).save_pretrained(tmp_path, variant="fp16")
    (stored,) = (tmp_path / part).glob("*.safetensors")
    stored.rename(stored.with_name(stored.name.replace(".fp16", "")))
    request = ImageRequest(prompt="a cat", width=64, height=64, num_inference_steps=3)
    settings = EngineSettings(model=str(tmp_path), safety="none", dtype="float32", variant="fp16")

    image = Engine.load(settings).generate(request).images[0]

    assert image.tobytes() == engine.generate(request).images[0].tobytes()


def test_a_model_is_called_what_its_settings_say(tiny):
    names = [served_name(EngineSettings(model=model, name="mine")) for model in (str(tiny), "owner/name")]

    assert names == ["mine", "mine"]
    assert served_name(EngineSettings(model="owner/name")) == "owner/name"


def test_a_part_without_weights_is_missed(tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "model")
    next((folder / "vae").glob("*.safetensors")).unlink()

    with pytest.raises(OSError, match="diffusion_pytorch_model"):
        load_checkpoint(EngineSettings(model=str(folder), variant="fp16"))


def test_it_takes_the_device_asked_for():
    assert choose_device("cpu") == torch.device("cpu")


def test_it_says_that_there_is_no_such_model(tmp_path):
    with pytest.raises(OSError, match=r"model_index\.json"):
        load_checkpoint(EngineSettings(model=str(tmp_path)))


def change(folder, name, **values):
    config = json.loads((folder / name).read_text()) | values
    (folder / name).write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("model_index.json", {"unet": [None, None], "transformer": ["diffusers", "FluxTransformer2DModel"]}, "no unet"),
        ("model_index.json", {"unet": None}, "no unet"),
        ("model_index.json", {"text_encoder": ["transformers", "T5EncoderModel"]}, "T5EncoderModel"),
        ("unet/config.json", {"addition_embed_type": "image"}, "conditioned on something else"),
        ("unet/config.json", {"in_channels": 8}, "8 channels"),
    ],
)
def test_it_refuses_what_is_not_stable_diffusion(tiny, tmp_path, name, values, reason):
    folder = shutil.copytree(tiny, tmp_path / "model")
    change(folder, name, **values)

    with pytest.raises(UnsupportedModel, match=reason):
        load_checkpoint(EngineSettings(model=str(folder)))


@pytest.mark.parametrize(
    ("kind", "sample_size", "pixels"), [("tiny", [8, 8], 64), ("tiny", None, 512), ("tiny_xl", None, 1024)]
)
def test_it_takes_a_native_size_that_is_a_pair_or_left_out(request, tmp_path, kind, sample_size, pixels):
    folder = shutil.copytree(request.getfixturevalue(kind), tmp_path / "model")
    change(folder, "unet/config.json", sample_size=sample_size)

    engine = Engine.load(EngineSettings(model=str(folder), safety="none"))

    assert (engine.native_pixels, engine.native_latents) == (pixels, (pixels // 8) ** 2)


def test_it_refuses_a_file_that_holds_no_whole_model(tmp_path):
    path = tmp_path / "lora.safetensors"
    save_file({"lora.up.weight": torch.zeros(1)}, path)

    with pytest.raises(UnsupportedModel, match="does not hold a whole"):
        load_checkpoint(EngineSettings(model=str(path)))


def test_it_loads_a_single_file(tiny, tmp_path, engine):
    path = write_single_file(tiny, tmp_path / "model.safetensors")
    request = ImageRequest(prompt="a cat", width=64, height=64, num_inference_steps=3)

    from_file = Engine.load(EngineSettings(model=str(path), config=str(tiny), safety="none", dtype="float32"))

    assert from_file.model_name == "model.safetensors"
    assert from_file.generate(request).images[0].tobytes() == engine.generate(request).images[0].tobytes()
