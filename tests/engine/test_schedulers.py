"""Scheduler names, and how many steps a request runs."""

import diffusers
import pytest
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from generation.engine import Engine, EngineSettings, ImageRequest, UnknownScheduler
from generation.engine.schedulers import Schedulers, denoising_steps, find, set_timesteps, strength_of_one_step

PUBLISHED = [
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "TCDScheduler",
    "UniPCMultistepScheduler",
]

SCHEDULERS = Schedulers(DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"))


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_knows_the_class_names_of_diffusers(name):
    assert find(name)[0] is getattr(diffusers, name)


@pytest.mark.parametrize(
    ("name", "class_name", "options"),
    [
        ("Euler a", "EulerAncestralDiscreteScheduler", {}),
        ("euler_a", "EulerAncestralDiscreteScheduler", {}),
        (
            "DPM++ 2M Karras",
            "DPMSolverMultistepScheduler",
            {"algorithm_type": "dpmsolver++", "use_karras_sigmas": True},
        ),
        ("dpmpp_2m_sde", "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
        ("DPM++ SDE", "DPMSolverSinglestepScheduler", {}),
        ("DPM2 a Karras", "KDPM2AncestralDiscreteScheduler", {"use_karras_sigmas": True}),
        ("LMS Karras", "LMSDiscreteScheduler", {"use_karras_sigmas": True}),
        ("PLMS", "PNDMScheduler", {}),
        ("UniPC", "UniPCMultistepScheduler", {}),
    ],
)
def test_it_knows_the_names_people_use(name, class_name, options):
    assert find(name) == (getattr(diffusers, class_name), options)


@pytest.mark.parametrize("name", ["", "karras", "ddim_karras", "euler_b", "IPNDMScheduler"])
def test_it_refuses_other_names(name):
    with pytest.raises(UnknownScheduler):
        find(name)


def test_it_refuses_a_request_with_another_name(engine):
    with pytest.raises(UnknownScheduler):
        engine.generate(ImageRequest(prompt="a cat", width=64, height=64, scheduler="fastest"))


def test_it_refuses_settings_with_another_name(tiny):
    with pytest.raises(UnknownScheduler):
        Engine.load(EngineSettings(model=str(tiny), safety="none", scheduler="fastest"))


def test_it_never_clips_latents():
    schedulers = Schedulers(DDIMScheduler())

    assert schedulers.new().config.clip_sample is False
    assert schedulers.new("ddpm").config.clip_sample is False


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("algorithm_type", ["dpmsolver++", "sde-dpmsolver++"])
def test_any_scheduler_takes_the_place_of_any_solver(name, algorithm_type):
    own = DPMSolverMultistepScheduler(beta_schedule="scaled_linear", algorithm_type=algorithm_type)

    assert type(Schedulers(own, name).new()).__name__ == name


def test_it_gives_every_sample_a_scheduler_of_its_own():
    assert SCHEDULERS.new("euler") is not SCHEDULERS.new("euler")


@pytest.mark.parametrize(
    ("num_inference_steps", "strength", "steps"),
    [(31, 0.7, 21), (10, 0.55, 5), (31, 1.0, 31), (31, 0.0, 1), (1, 0.5, 1), (20, 0.04, 1)],
)
def test_it_counts_steps_as_diffusers_does_and_at_least_one(num_inference_steps, strength, steps):
    assert denoising_steps(num_inference_steps, strength) == steps


def test_one_step_is_one_for_pipelines_that_round_down_and_for_those_that_round_up():
    for steps in range(1, 1001):
        strength = strength_of_one_step(steps)

        assert int(steps * strength) == 1  # Kandinsky 3
        assert steps - int(max(steps - min(steps * strength, steps), 0)) == 1  # SD3 and Flux


@settings(deadline=None)
@given(st.integers(1, 51), st.floats(0, 1), st.sampled_from(PUBLISHED))
def test_it_runs_as_many_timesteps_as_it_counts_steps(num_inference_steps, strength, name):
    scheduler = SCHEDULERS.new(name)

    timesteps = set_timesteps(scheduler, num_inference_steps, strength)

    steps = denoising_steps(num_inference_steps, strength)
    extra = {"PNDMScheduler": 1 if num_inference_steps > 1 else 0}.get(
        name, 0
    )  # calls the model twice on its second step
    assert len(timesteps) == (2 * steps - 1 if scheduler.order == 2 else steps + extra)
