"""generation.making: one generation from claim to end, with the real engine."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import connection
from PIL import Image, ImageChops

from billing import ledger
from generation import images, leases, making, progress, queue, services, storage, worker
from generation.engine import ImageRequest
from generation.leases import Lease, LeaseLost, hearts
from generation.models import Generation, Status
from generation.params import Inputs, Params
from tests.conftest import Person
from tests.generation.conftest import Submit, everything, lapse, row, watched_memory
from tests.racing import race

pytestmark = pytest.mark.django_db(transaction=True)  # leases are renewed from another connection


class AtStep:
    """The real engine; something happens at one of its steps."""

    def __init__(self, engine: Any, step: int, happening: Callable[[], object]) -> None:
        self.engine, self.step, self.happening = engine, step, happening
        self.last_step = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def generate(self, request: Any, on_step: Callable[[int, int], None], on_draft: Any) -> Any:
        def watch(step: int, steps: int) -> None:
            self.last_step = step
            if step == self.step:
                self.happening()
            on_step(step, steps)

        return self.engine.generate(request, on_step=watch, on_draft=on_draft)


def make(generation: Generation, engine: Any, stopping: threading.Event | None = None, **options: Any) -> Generation:
    claim = services.claim(generation.pk)
    if claim:
        with hearts() as beating:
            making.make(claim, engine, stopping or threading.Event(), beating, **options)
    return row(generation)


def poison() -> None:
    raise RuntimeError("CUDA error: device-side assert triggered")


def stored(generation: Generation) -> list[str]:
    names = [generation.image_name(k) for k in range(4)]
    return [name for name in names if default_storage.exists(name)]


def png(generation: Generation, k: int = 0) -> bytes:
    with default_storage.open(generation.image_name(k)) as file:
        return bytes(file.read())


def picture(colour: str = "teal", mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> bytes:
    file = BytesIO()
    Image.new(mode, size, colour).save(file, "PNG")
    return file.getvalue()


def test_it_stores_and_charges_every_image(submit: Submit, engine: Any, alice: Person) -> None:
    ended = make(submit(samples=2), engine)

    assert (ended.status, ended.charged_credits, ended.nsfw, ended.step) == (Status.SUCCESS, 2, [False, False], 2)
    assert (ended.model, ended.vae) == (engine.model_name, "AutoencoderKL")
    assert ended.compute_seconds > 0
    assert len(stored(ended)) == 2
    assert png(ended, 0) != png(ended, 1)
    assert alice.balance == 998


def test_its_images_and_their_thumbnails_go_out_at_once(
    submit: Submit, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(4)  # breaks where one waits for another's end

    def slow(save: Callable[..., None]) -> Callable[..., None]:
        def wait_and_save(*args: Any, **options: Any) -> None:
            together.wait(10)
            save(*args, **options)

        return wait_and_save

    monkeypatch.setattr(storage, "save_image", slow(storage.save_image))
    monkeypatch.setattr(storage, "save_thumbnail", slow(storage.save_thumbnail))

    ended = make(submit(samples=2), engine)

    assert (ended.status, len(stored(ended))) == (Status.SUCCESS, 2)


def test_what_is_not_queued_is_left_alone(submit: Submit, engine: Any) -> None:
    generation = submit()
    services.cancel(generation.pk)
    before = everything(generation)

    make(generation, engine)

    assert everything(generation) == before
    assert stored(generation) == []


@pytest.mark.parametrize(("samples", "levels"), [(1, 0), (2, 1)])  # a batch rounds floats in another order
def test_the_last_image_can_be_made_again_from_what_its_png_says(
    submit: Submit, engine: Any, samples: int, levels: int
) -> None:
    source = Inputs(init_image_name=storage.save_input(picture()))
    first = make(submit(source, mode="img2img", strength=0.9, samples=samples), engine)
    recipe = images.read_parameters(png(first, samples - 1))
    assert recipe
    assert recipe.pop("model") == engine.model_name

    again = make(services.submit(first.account, Params.from_json(recipe), source), engine)

    before, after = (Image.open(BytesIO(data)) for data in (png(first, samples - 1), png(again)))
    assert (recipe["seed"], recipe["samples"]) == (7 + samples - 1, 1)
    assert max(high for _, high in ImageChops.difference(before, after).getextrema()) <= levels


def test_a_png_tells_other_programs_how_it_was_made(submit: Submit, engine: Any) -> None:
    ended = make(submit(negative_prompt="dogs"), engine)

    assert Image.open(BytesIO(png(ended))).info["parameters"].splitlines() == [
        "a cat",
        "Negative prompt: dogs",
        f"Steps: 2, Sampler: DDIMScheduler, CFG scale: 7.5, Seed: 7, Size: 64x64, Model: {engine.model_name}",
    ]


def test_an_indecent_image_is_blank_and_costs_nothing(
    submit: Submit, engine: Any, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SecondIsIndecent:
        def is_nsfw(self, images: list[Image.Image]) -> list[bool]:
            return [k == 1 for k in range(len(images))]

    monkeypatch.setattr(engine, "_safety_checker", SecondIsIndecent())

    ended = make(submit(samples=2, safety_checker=True), engine)

    assert (ended.status, ended.nsfw, ended.charged_credits) == (Status.SUCCESS, [False, True], 1)
    assert [Image.open(BytesIO(png(ended, k))).getbbox() is None for k in range(2)] == [False, True]
    assert alice.balance == 999
    assert list(ledger.differences()) == []


def test_a_cancel_stops_the_computing_at_the_next_step(
    submit: Submit, engine: Any, alice: Person, settings: Any
) -> None:
    settings.LEASE_SECONDS = 0.3  # renewed every 0.1 s, which is how a cancel is noticed
    generation = submit(num_inference_steps=20)

    def cancel() -> None:
        services.cancel(generation.pk)
        time.sleep(0.5)

    watched = AtStep(engine, 3, cancel)
    ended = make(generation, watched)

    assert (ended.status, watched.last_step) == (Status.CANCELED, 3)
    assert stored(ended) == []
    assert alice.balance == 1000


def test_a_cancel_during_the_last_step_leaves_no_image(submit: Submit, engine: Any) -> None:
    generation = submit()

    ended = make(generation, AtStep(engine, 2, lambda: services.cancel(generation.pk)))

    assert ended.status == Status.CANCELED
    assert stored(ended) == []


def test_nothing_is_written_under_a_claim_that_was_lost(submit: Submit, engine: Any, alice: Person) -> None:
    generation = submit()

    def lose() -> None:
        lapse(generation)
        services.take_back(generation.pk, 1)
        services.claim(generation.pk)
        time.sleep(2 * leases.RENEW_SECONDS)

    ended = make(generation, AtStep(engine, 2, lose))

    assert (ended.status, ended.attempt, ended.charged_credits) == (Status.PROCESSING, 2, 0)
    assert stored(ended) == []
    assert alice.balance == 999  # still held


def test_a_claim_that_may_have_lapsed_is_renewed_before_anything_is_stored(submit: Submit, settings: Any) -> None:
    generation = submit()
    claim = services.claim(generation.pk)
    assert claim
    lease = Lease(claim, threading.Event())
    services.cancel(generation.pk)

    lease.confirm()  # it was claimed just now: nobody else can have it, and success will find that it was canceled
    lease.renewed_at -= settings.LEASE_SECONDS
    with pytest.raises(LeaseLost):
        lease.confirm()


def test_the_lease_is_renewed_while_the_engine_works(submit: Submit, engine: Any, settings: Any) -> None:
    settings.LEASE_SECONDS = 0.6
    generation = submit()
    taken_back = []

    def work_on() -> None:
        for _ in range(15):
            time.sleep(0.1)
            taken_back.append(services.take_back(generation.pk, 1))

    ended = make(generation, AtStep(engine, 1, work_on))

    assert not any(taken_back)
    assert ended.status == Status.SUCCESS


def test_a_stopping_worker_hands_back_what_takes_longer_than_its_grace(
    submit: Submit, engine: Any, settings: Any
) -> None:
    settings.STOP_GRACE_SECONDS = 0
    stopping = threading.Event()

    watched = AtStep(engine, 1, stopping.set)
    ended = make(submit(), watched, stopping)

    assert (ended.status, ended.attempt, ended.lease_until) == (Status.QUEUED, 0, None)
    assert (watched.last_step, stored(ended)) == (1, [])


def test_a_stopping_worker_finishes_what_fits_into_its_grace(submit: Submit, engine: Any, settings: Any) -> None:
    settings.STOP_GRACE_SECONDS = 60
    stopping = threading.Event()

    assert make(submit(), AtStep(engine, 1, stopping.set), stopping).status == Status.SUCCESS


def test_pictures_are_opened_one_at_a_time(submit: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    opening: list[str] = []
    others: list[int] = []

    def watched(decode: Callable[[bytes], Image.Image]) -> Callable[[bytes], Image.Image]:
        def watch(data: bytes) -> Image.Image:
            others.append(len(opening))
            opening.append(decode.__name__)
            time.sleep(0.05)
            try:
                return decode(data)
            finally:
                opening.remove(decode.__name__)

        return watch

    for decode in (images.decode, images.decode_mask):
        monkeypatch.setattr(images, decode.__name__, watched(decode))
    inputs = Inputs(init_image_name=storage.save_input(picture()), mask_image_name=storage.save_input(picture("white")))
    generation = submit(inputs, mode="inpaint")

    requests = race(4, lambda k: making.read_request(generation))

    assert [type(request) for request in requests] == [ImageRequest] * 4
    assert others == [0] * 8


def test_many_large_pictures_take_the_memory_of_one(submit: Submit) -> None:
    large = picture("#fff0", "RGBA", (2500, 2500))  # a few kB that become 25 MB, and those another 25 MB without alpha
    generation = submit(Inputs(init_image_name=storage.save_input(large)), mode="img2img")

    with watched_memory() as growth_mb:
        requests = race(8, lambda k: making.read_request(generation))

    assert [type(request) for request in requests] == [ImageRequest] * 8
    assert growth_mb() < 100


def test_an_input_that_is_no_image_fails_with_the_reason(submit: Submit, engine: Any, alice: Person) -> None:
    inputs = Inputs(init_image_name=storage.save_input(b"<html>not an image</html>"))

    ended = make(submit(inputs, mode="img2img"), engine)

    assert ended.status == Status.FAILED
    assert ended.message == "The file is not an image that can be read; send PNG, JPEG, WebP, GIF, BMP or AVIF."
    assert alice.balance == 1000


def test_a_fault_of_the_engine_fails_without_telling_internals(submit: Submit, engine: Any, alice: Person) -> None:
    def explode() -> None:
        raise RuntimeError("4 channels expected in /secret/path")

    given_up = threading.Event()
    ended = make(submit(), AtStep(engine, 1, explode), on_broken=given_up.set)

    assert (ended.status, ended.message, ended.model) == (Status.FAILED, "Failed, Try Again", engine.model_name)
    assert alice.balance == 1000
    assert not given_up.is_set()


def test_a_generation_is_tried_again_when_the_device_broke_once_its_worker_has_given_up(
    submit: Submit, engine: Any, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "synchronize", poison)
    generation = submit()
    seen = []

    ended = make(generation, AtStep(engine, 1, poison), on_broken=lambda: seen.append(row(generation).status))

    assert seen == [Status.PROCESSING]
    assert (ended.status, ended.attempt, ended.lease_until) == (Status.QUEUED, 1, None)
    assert alice.balance == 999  # still held


def test_what_breaks_the_device_each_time_is_given_up(
    submit: Submit, engine: Any, alice: Person, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MAX_ATTEMPTS = 2
    monkeypatch.setattr(engine, "synchronize", poison)
    generation = submit()

    assert make(generation, AtStep(engine, 1, poison)).status == Status.QUEUED
    assert make(generation, AtStep(engine, 1, poison)).status == Status.FAILED
    assert alice.balance == 1000


def test_watching_does_no_harm_where_no_draft_can_be_painted(
    submit: Submit, engine: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    painted = []

    def paint(*_: Any) -> Image.Image:
        painted.append(1)
        raise RuntimeError("CUDA error: out of memory for the draft")

    monkeypatch.setattr(engine, "paint", paint)
    generation = submit(num_inference_steps=6)
    queue.redis().set(progress.watched_key(generation.pk), 1)

    ended = make(generation, AtStep(engine, 1, lambda: time.sleep(3 * progress.SHOW_SECONDS)))

    assert ended.status == Status.SUCCESS
    assert len(painted) == 1
    assert f"A draft of generation {generation.pk} failed." in caplog.text


def test_a_storage_that_cannot_be_written_is_tried_again(
    submit: Submit, engine: Any, settings: Any, tmp_path: Any
) -> None:
    generation = submit()
    well = settings.STORAGES
    (tmp_path / "full").touch()
    settings.STORAGES = well | {"default": well["default"] | {"OPTIONS": {"location": tmp_path / "full"}}}

    assert make(generation, engine).status == Status.QUEUED
    settings.STORAGES = well
    ended = make(generation, engine)

    assert (ended.status, ended.attempt, ended.charged_credits) == (Status.SUCCESS, 2, 1)


def cut_off(backend_pid: int) -> None:
    """End a connection to the database, as its restart does."""

    def terminate() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 10000)", [backend_pid])
        connection.close()

    with ThreadPoolExecutor(1) as other:
        other.submit(terminate).result()


def test_a_connection_to_the_database_that_breaks_costs_an_attempt_and_not_the_generation(
    submit: Submit, engine: Any, alice: Person
) -> None:
    generation = submit()
    pid = connection.connection.info.backend_pid

    interrupted = make(generation, AtStep(engine, 1, lambda: cut_off(pid)))

    assert (interrupted.status, interrupted.attempt, interrupted.message) == (Status.QUEUED, 1, "")
    assert alice.balance == 999  # still held
    ended = make(generation, engine)
    assert (ended.status, ended.attempt, ended.charged_credits) == (Status.SUCCESS, 2, 1)


def test_a_connection_to_the_database_that_broke_while_nothing_was_made_costs_nothing(submit: Submit) -> None:
    generation = submit()
    cut_off(connection.connection.info.backend_pid)

    assert worker.claim_next() == generation


def test_an_input_that_cannot_be_read_is_tried_again_and_then_given_up(
    submit: Submit, engine: Any, alice: Person, settings: Any
) -> None:
    settings.MAX_ATTEMPTS = 2
    generation = submit(Inputs(init_image_name="gone"), mode="img2img")

    assert make(generation, engine).status == Status.QUEUED
    assert make(generation, engine).status == Status.FAILED
    assert alice.balance == 1000


def test_a_model_that_its_own_pipeline_runs_makes_generations_too(
    submit: Submit, whole_engine: Any, alice: Person
) -> None:
    source = Inputs(init_image_name=storage.save_input(picture()))
    ended = make(submit(source, mode="img2img", strength=0.9, samples=2), whole_engine)

    assert (ended.status, ended.model, ended.step) == (Status.SUCCESS, whole_engine.model_name, 1)
    assert images.read_parameters(png(ended, 1))
    assert len(stored(ended)) == 2


def test_what_the_model_cannot_do_fails_with_a_reason_and_costs_nothing(
    submit: Submit, whole_engine: Any, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(whole_engine._pipelines, "img2img")
    source = Inputs(init_image_name=storage.save_input(picture()))

    ended = make(submit(source, mode="img2img"), whole_engine)

    message = "This model knows no img2img, only text2img and inpaint."
    assert (ended.status, ended.message, ended.model) == (Status.FAILED, message, whole_engine.model_name)
    assert alice.balance == 1000


def test_a_worker_has_one_hand_for_a_model_that_makes_one_image_at_a_time(
    engine: Any, whole_engine: Any, settings: Any
) -> None:
    settings.BATCH_IMAGES = 3

    shared, hands = worker.shared(engine)
    shared.close()

    assert (shared.engine, hands) == (engine, 3)
    assert worker.shared(whole_engine) == (whole_engine, 1)


def test_a_worker_whose_device_broke_claims_nothing_more(
    submit: Submit, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = submit()
    before = everything(generation)
    broken = threading.Event()
    broken.set()
    monkeypatch.setattr(worker, "broken", broken)
    monkeypatch.setattr(worker, "engine", engine)

    with hearts() as beating:
        monkeypatch.setattr(worker, "beating", beating)
        worker.make_next()

    assert everything(generation) == before


def test_a_worker_tells_what_it_has_loaded_and_where(engine: Any) -> None:
    queue.beat("one", worker.facts(engine))

    told = queue.gpu_workers()["one"]
    assert (told["model"], told["device"]) == (engine.model_name, "cpu")
