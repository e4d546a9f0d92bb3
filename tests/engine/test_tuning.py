"""Which ways of computing a worker takes up: those that were measured to pay, once for a model on a machine."""

import pytest
import torch
from diffusers import PRXTransformer2DModel, UNet2DConditionModel

from generation.engine import EngineSettings, load_model, tuning
from generation.engine.tuning import choose
from generation.serving import served_model
from generation.worker import load_engine


@pytest.fixture(params=["tiny", "tiny_sd3"])
def engine(request):
    """An engine of the test's own, of either kind."""
    folder = request.getfixturevalue(request.param)
    return load_model(EngineSettings(model=str(folder), safety="none", dtype="float32"))


@pytest.fixture
def steps(monkeypatch):
    """How many seconds the next measured steps take; what is left was not measured."""
    times = []

    def next_of(engine, *arguments):
        return times.pop(0)

    monkeypatch.setattr(tuning, "step_seconds", next_of)
    monkeypatch.setattr(tuning, "whole_step_seconds", next_of)
    return times


def is_channels_last(engine):
    weights = [weight for weight in engine.network.parameters() if weight.dim() == 4 and weight.shape[2:] != (1, 1)]
    return all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


def is_fused(engine):
    return any(getattr(module, "fused_projections", False) for module in engine.network.modules())


def rounds(engine, *times):
    """Return the times of the steps that are measured, two rounds for each way; first comes that of a single image."""
    pairs = zip(times[::2], times[1::2], strict=True)
    return [*([0.01] if hasattr(engine, "step") else []), *(took for pair in pairs for took in pair * 2)]


def test_it_keeps_each_way_that_makes_a_step_faster(engine, steps, tmp_path):
    steps += rounds(engine, 0.1, 0.05, 0.05, 0.04)

    choose(engine, tmp_path / "tuning.json", batch_images=4)

    assert (engine.tuning, is_channels_last(engine), is_fused(engine)) == (["channels_last", "fuse_qkv"], True, True)
    told = "channels_last 50.0 instead of 100.0, fuse_qkv 40.0 instead of 50.0 ms for "
    assert engine.facts()["measured"].startswith(told)


def test_it_gives_up_what_is_slower_or_no_faster_than_runs_differ(engine, steps, tmp_path):
    steps += rounds(engine, 0.1, 0.2, 0.1, 0.096)

    choose(engine, tmp_path / "tuning.json", batch_images=4)

    assert (engine.tuning, is_channels_last(engine), is_fused(engine)) == ([], False, False)


def test_it_measures_once_and_then_remembers(tiny, steps, tmp_path):
    settings = EngineSettings(model=str(tiny), safety="none", dtype="float32")
    first, second = load_model(settings), load_model(settings)
    steps += rounds(first, 0.1, 0.2, 0.1, 0.05)

    choose(first, tmp_path / "tuning.json", batch_images=4)
    choose(second, tmp_path / "tuning.json", batch_images=4)

    assert (second.tuning, is_channels_last(second), is_fused(second)) == (["fuse_qkv"], False, True)
    assert second.facts()["measured"] == first.facts()["measured"]
    assert not steps


def test_another_precision_is_measured_anew(tiny, steps, tmp_path):
    engines = [load_model(EngineSettings(model=str(tiny), safety="none", dtype=it)) for it in ("float32", "bfloat16")]
    for engine in engines:
        steps += rounds(engine, 0.1, 0.2, 0.1, 0.2)

    for engine in engines:
        choose(engine, tmp_path / "tuning.json", batch_images=4)

    assert not steps
    assert len(tuning.read(tmp_path / "tuning.json")) == 2


@pytest.mark.parametrize(
    "noted",
    [
        "",
        "{",
        "[]",
        '{"%s": 5}',
        '{"%s": {"ways": []}}',
        '{"%s": {"ways": ["turbo"], "images": 4, "milliseconds": {}}}',
    ],
)
def test_a_note_that_cannot_be_read_is_none(tiny, steps, tmp_path, noted):
    engine = load_model(EngineSettings(model=str(tiny), safety="none", dtype="float32"))
    (tmp_path / "tuning.json").write_text(noted.replace("%s", tuning.circumstances(engine)))
    steps += rounds(engine, 0.1, 0.2, 0.1, 0.05)

    choose(engine, tmp_path / "tuning.json", batch_images=4)

    assert engine.tuning == ["fuse_qkv"]
    assert list(tuning.read(tmp_path / "tuning.json")) == [tuning.circumstances(engine)]


@pytest.mark.parametrize("fails_at", [2, 3])
def test_what_there_is_no_memory_for_is_left_out(tiny, tmp_path, monkeypatch, fails_at):
    """The second and third measured steps are those with and without the first way."""
    engine = load_model(EngineSettings(model=str(tiny), safety="none", dtype="float32"))
    times = iter([0.01, *[0.1] * fails_at, 0.1, 0.05, 0.1, 0.05])
    measured = []

    def step(*arguments):
        measured.append(1)
        if len(measured) == 1 + fails_at:
            raise torch.OutOfMemoryError
        return next(times)

    monkeypatch.setattr(tuning, "step_seconds", step)

    choose(engine, tmp_path / "tuning.json", batch_images=4)

    assert "channels_last" not in engine.facts()["measured"]
    assert not is_channels_last(engine)


def network_of_prx():
    """Attention has one matrix from the start."""
    sizes = {"in_channels": 16, "context_in_dim": 32, "hidden_size": 32, "num_heads": 2, "depth": 1}
    return PRXTransformer2DModel(patch_size=2, mlp_ratio=2.0, axes_dim=[8, 8], **sizes)


def network_of_deep_floyd():
    """Attention has further keys and values."""
    return UNet2DConditionModel(
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        attention_head_dim=4,
        cross_attention_dim=8,
    )


@pytest.mark.parametrize("network", [network_of_prx, network_of_deep_floyd])
def test_what_a_network_cannot_do_is_left_out(engine, steps, tmp_path, network):
    engine.network = network()
    steps += [*rounds(engine, 0.1, 0.05), 0.1]

    choose(engine, tmp_path / "tuning.json", batch_images=4)

    assert (engine.tuning, is_channels_last(engine), is_fused(engine)) == (["channels_last"], True, False)


@pytest.mark.parametrize(("alone", "together"), [(0.01, 16), (0.06, 4), (3.0, 1)])
def test_it_measures_as_many_images_as_take_no_long_time(tiny, tmp_path, monkeypatch, alone, together):
    engine = load_model(EngineSettings(model=str(tiny), safety="none", dtype="float32"))
    images = []
    monkeypatch.setattr(tuning, "step_seconds", lambda engine, number, pixels: images.append(number) or alone)

    choose(engine, tmp_path / "tuning.json", batch_images=16)

    assert images == [1] + [together] * 8


def test_one_slow_step_of_a_busy_machine_decides_nothing(engine, steps, tmp_path):
    steps += [*rounds(engine), 0.1, 0.2, 0.5, 0.1, 0.1, 0.1, 0.9, 0.1]

    choose(engine, tmp_path / "tuning.json", batch_images=4)

    assert engine.tuning == []


def test_it_really_measures(engine, tmp_path):
    choose(engine, tmp_path / "tuning.json", batch_images=2)

    (choice,) = tuning.read(tmp_path / "tuning.json").values()
    assert list(choice.milliseconds) == ["channels_last", "fuse_qkv"]
    assert all(took > 0 for pair in choice.milliseconds.values() for took in pair)


@pytest.fixture
def site(settings, tiny, tmp_path):
    """Settings of a worker that loads a tiny model."""
    settings.MODEL, settings.SAFETY_CHECKER, settings.DEVICE, settings.VAR_DIR = str(tiny), "none", "cpu", tmp_path
    return settings


def test_a_worker_measures_unless_it_is_told_what_to_do(site, tmp_path):
    loaded = {}
    for words in (["none"], ["channels_last", "fuse_qkv"], ["auto"]):
        site.TUNING = words
        loaded[words[0]] = load_engine(), (tmp_path / "tuning.json").exists()

    assert [(engine.facts()["tuning"], measured) for engine, measured in loaded.values()][:2] == [
        ("none", False),
        ("channels_last, fuse_qkv", False),
    ]
    assert "ms for" in loaded["auto"][0].facts()["measured"]


def test_a_worker_calls_its_model_as_the_site_does(site, tiny, monkeypatch):
    monkeypatch.chdir(tiny.parents[1])
    site.TUNING, site.MODEL = ["none"], f"{tiny.parent.name}/{tiny.name}"

    assert load_engine().model_name == served_model() == site.MODEL


def test_quantized_weights_are_left_as_they_are(site, tmp_path):
    pytest.importorskip("torchao", reason="an option that needs torchao")
    site.TUNING, site.QUANTIZE = ["auto"], "int8"

    assert load_engine().facts()["tuning"] == "int8 weights"
