"""generation.retention: what is kept no longer is removed, file first."""

import os
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage, storages
from django.db import connection
from django.utils import timezone

from accounts.models import Plan
from config import debris
from generation import jobs, retention, services, storage
from generation.models import Delivery, Event, Generation
from generation.params import Inputs
from tests.conftest import Person
from tests.generation.conftest import Submit, row
from tests.plans import plans

NOTHING = {"images": 0, "inputs": 0, "attempts": 0, "events": 0}


def made(submit: Submit, days_ago: float, by: Person) -> Generation:
    """Return a success of so many days ago, with its file."""
    start = Inputs(init_image_name=storage.save_input(b"start"))
    claim = services.claim(submit(start, mode="img2img", by=by).pk)
    assert claim
    storage.save_image(claim, 0, b"png", as_base64=True)
    services.succeed(claim, [False], 1.0, 1.0, "tiny", "", "")
    Generation.objects.filter(pk=claim.pk).update(finished_at=timezone.now() - timedelta(days=days_ago))
    return row(claim)


def on_plan(person: Person, **days: int) -> Person:
    person.user.plan = Plan.objects.create(name="small", **days)
    person.user.save()
    return person


def kept(generation: Generation) -> tuple[bool, bool]:
    """Tell whether the image and the start image are there."""
    images = {
        default_storage.exists(generation.image_name(0)),
        default_storage.exists(storage.base64_name(generation, 0)),
    }
    assert len(images) == 1
    return images.pop(), storages["inputs"].exists(generation.init_image_name)


def test_without_a_word_about_it_everything_is_kept(submit: Submit, alice: Person) -> None:
    generation = made(submit, 9999, alice)

    assert retention.expire() == NOTHING
    assert kept(generation) == (True, True)


def test_a_plan_keeps_images_and_start_images_for_days_of_its_own(submit: Submit, alice: Person) -> None:
    on_plan(alice, output_days=30, input_days=7)
    young, middle, old = (made(submit, days, alice) for days in (6.9, 8, 31))

    removed = retention.expire()

    assert removed == NOTHING | {"images": 1, "inputs": 2}
    assert [kept(one) for one in (young, middle, old)] == [(True, True), (True, False), (False, False)]
    assert row(old).images_expired_at is not None
    assert retention.expire() == NOTHING


def test_zero_days_are_an_hour_for_the_delivery(submit: Submit, alice: Person) -> None:
    on_plan(alice, output_days=0, input_days=0)
    now, earlier = made(submit, 0.03, alice), made(submit, 0.05, alice)

    retention.expire()

    assert [kept(one) for one in (now, earlier)] == [(True, True), (False, False)]


def test_where_the_plan_says_nothing_the_site_does(submit: Submit, alice: Person, person: Any, settings: Any) -> None:
    settings.RETENTION_OUTPUT_DAYS = 10
    dora = on_plan(person("dora", credits=10), output_days=100, input_days=1)
    mine, hers = made(submit, 20, alice), made(submit, 20, dora)

    retention.expire()

    assert (kept(mine), kept(hers)) == ((False, True), (True, False))


def test_what_is_not_over_is_left_alone(submit: Submit, alice: Person) -> None:
    on_plan(alice, output_days=0, input_days=0)
    generation = submit(Inputs(init_image_name=storage.save_input(b"start")), mode="img2img", by=alice)
    Generation.objects.update(created_at=timezone.now() - timedelta(days=9))

    assert retention.expire() == NOTHING
    assert storages["inputs"].exists(generation.init_image_name)


def test_what_the_storage_refuses_is_tried_again_and_keeps_nothing_else(
    submit: Submit, alice: Person, monkeypatch: Any
) -> None:
    on_plan(alice, output_days=1)
    first, second = made(submit, 5, alice), made(submit, 5, alice)
    delete = storage.delete_images

    def broken(generation: Generation) -> None:
        if generation == first:
            raise OSError("the disk is busy")
        delete(generation)

    monkeypatch.setattr(storage, "delete_images", broken)
    during = retention.expire()["images"]
    monkeypatch.undo()

    assert (during, kept(first)[0], kept(second)[0]) == (1, True, False)
    assert retention.expire()["images"] == 1


def test_uploads_that_nothing_uses_go_after_a_day(submit: Submit, alice: Person) -> None:
    used, unused, young = (storage.save_input(b"start") for _ in range(3))
    submit(Inputs(init_image_name=used), mode="img2img")
    for name in (used, unused):
        grow_old(name, hours=25)

    jobs.remove_unused_uploads()

    assert [storages["inputs"].exists(name) for name in (used, unused, young)] == [True, False, True]


def grow_old(name: str, hours: int) -> None:
    at = (datetime.now() - timedelta(hours=hours)).timestamp()
    os.utime(storages["inputs"].path(name), (at, at))


@pytest.mark.usefixtures("anywhere")
def test_uploads_that_nothing_uses_go_wherever_they_are(submit: Submit) -> None:
    used, unused = (storage.save_input(b"start") for _ in range(2))
    submit(Inputs(init_image_name=used), mode="img2img")
    now = timezone.now()

    removed = [retention.remove_unused_uploads(now + timedelta(hours=hours)) for hours in (23, 25)]

    assert removed == [0, 1]
    assert [storages["inputs"].exists(name) for name in (used, unused)] == [True, False]


def test_what_uses_uploads_is_found_among_a_great_many_generations(submit: Submit) -> None:
    submit(Inputs(init_image_name=storage.save_input(b"start"), mask_image_name=storage.save_input(b"mask")))
    for _ in range(retention.BATCH):
        storage.save_input(b"unused")

    plan = plans(lambda: retention.remove_unused_uploads(timezone.now()))

    assert "uses_of_an_init_image" in plan, plan
    assert "uses_of_a_mask" in plan, plan
    assert "Seq Scan on generation_generation" not in plan, plan


def test_of_a_bucket_no_more_is_listed_than_is_looked_at(bucket: Any, db: None) -> None:
    listed = []

    def one_a_page(params: dict[str, Any], **_: Any) -> None:
        params["MaxKeys"] = 1
        listed.append(params)

    storages["inputs"].connection.meta.client.meta.events.register(
        "before-parameter-build.s3.ListObjectsV2", one_a_page
    )
    uploads = sorted(storage.save_input(b"start") for _ in range(3))
    storages["inputs"].save("exports/a.zip", ContentFile(b"zip"))

    names = debris.names(storages["inputs"], "")
    first = next(names)

    assert (first, len(listed)) == (uploads[0], 1)
    assert [first, *names] == uploads


@pytest.mark.usefixtures("anywhere", "db")
def test_where_nothing_was_ever_uploaded_there_is_nothing_to_remove() -> None:
    assert retention.remove_unused_uploads(timezone.now()) == 0


@pytest.mark.usefixtures("anywhere", "db")
def test_an_upload_that_goes_by_itself_meanwhile_does_not_end_the_run() -> None:
    gone, unused = (storage.save_input(b"start") for _ in range(2))

    def remove_it(execute: Any, sql: str, *rest: Any) -> Any:
        storages["inputs"].delete(gone)
        return execute(sql, *rest)

    with connection.execute_wrapper(remove_it):
        removed = retention.remove_unused_uploads(timezone.now() + timedelta(hours=25))

    assert removed == 1
    assert not storages["inputs"].exists(unused)


def test_events_go_after_a_month_with_their_deliveries(submit: Submit, alice: Person) -> None:
    for _ in range(2):
        services.cancel(submit(webhook_url="https://example.org/").pk)
    old = Event.objects.order_by("pk")[0]
    Event.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=31))

    retention.expire()

    assert (Event.objects.count(), Delivery.objects.count()) == (1, 1)
