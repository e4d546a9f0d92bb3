"""Everything that is held of an account: taken along (/account/data/), and erased (/account/close/)."""

import io
import json
import logging
import os
import time
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage, storages
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.utils import timezone
from rq.executions import Execution

from accounts import closing, exports, jobs, packing
from accounts.authentication import InvalidKey, authenticate
from accounts.models import Export, User
from billing import ledger
from billing.models import Entry, TopUp, Wallet
from config import nudges
from config.storage import FolderStorage
from generation import services, storage
from generation.models import Generation
from generation.params import Inputs, Params
from generation.webhooks import signing
from generation.webhooks.models import Endpoint, Event
from tests.belongings import Belongings, furnish, picture
from tests.conftest import Person
from tests.sessions import logged_in

HTMX = {"HX-Request": "true"}


@pytest.fixture
def owned(alice: Person) -> Belongings:
    return furnish(alice)


def let_an_hour_pass_since_closing(user: User) -> None:
    User.objects.filter(pk=user.pk).update(closed_at=timezone.now() - timedelta(hours=1))


def kept_files() -> set[str]:
    """Return what is in both storages."""
    root = Path(storages["inputs"].location).parent
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def download(client: Client, export: Export, number: int = 1) -> Any:
    return client.get(f"/account/data/export/{export.pk}/{number}/")


def unpack(reply: Any) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(b"".join(reply.streaming_content))) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


# Taking everything along


def test_everything_that_is_held_is_in_the_file(owned: Belongings) -> None:
    files = unpack(download(logged_in(owned.person.user), owned.export))
    rows = {name: [json.loads(line) for line in data.splitlines()] for name, data in files.items() if "jsonl" in name}

    pk = owned.generation.pk
    assert files[f"images/{pk}-1.png"] == picture("cat.jpg")
    assert files[f"images/{pk}-2.png"] == picture("flower.jpg")
    assert files[f"inputs/{pk}-start"] == picture("cat.jpg")
    assert rows["generations.jsonl"][0]["params"]["prompt"] == "a cat sitting on a bench"
    assert len(rows["generations.jsonl"]) == 3
    assert rows["account.jsonl"][0]["email"] == "alice@example.org"
    assert sum(row["credits"] for row in rows["entries.jsonl"]) == rows["wallet.jsonl"][0]["balance"]
    assert [row["name"] for row in rows["keys.jsonl"]] == ["test"]
    assert rows["webhook_endpoints.jsonl"][0]["url"] == "https://example.org/events"


def test_no_secret_is_in_the_file(owned: Belongings) -> None:
    user = User.objects.get(pk=owned.person.user.pk)
    everything = b"".join(unpack(download(logged_in(user), owned.export)).values())

    secrets = (user.password, user.webhook_secret, owned.person.api_key.digest, owned.person.key)
    assert [secret for secret in secrets if secret.encode() in everything] == []


def test_nothing_of_anybody_else_is_in_the_file(owned: Belongings, bob: Person) -> None:
    export = exports.request(bob.user)
    exports.run(export.pk)

    files = unpack(download(logged_in(bob.user), export))

    assert not [name for name in files if name.startswith(("images/", "inputs/"))]
    assert b"alice" not in b"".join(files.values())


def test_the_page_follows_an_export_from_the_click_to_the_file(bob: Person) -> None:
    client = logged_in(bob.user)

    before = client.get("/account/data/").content.decode()
    clicked = client.post("/account/data/export/", headers=HTMX).content.decode()
    export = bob.user.exports.get()
    jobs.export(export.pk)
    after = client.get(f"/account/data/export/{export.pk}/", headers=HTMX).content.decode()

    assert "Pack everything" in before
    assert f'hx-get="/account/data/export/{export.pk}/"' in clicked
    assert "Waiting for its turn" in clicked
    assert f'href="/account/data/export/{export.pk}/1/"' in after
    assert "hx-trigger" not in after


def test_it_works_without_scripts(bob: Person) -> None:
    client = logged_in(bob.user)

    assert client.post("/account/data/export/")["Location"] == "/account/data/"
    assert "Waiting for its turn" in client.get("/account/data/").content.decode()


def test_two_clicks_make_one_export(bob: Person) -> None:
    assert exports.request(bob.user) == exports.request(bob.user)
    assert Export.objects.count() == 1


def test_a_click_while_the_export_ends_answers_what_became_of_it(bob: Person) -> None:
    export = exports.request(bob.user)

    def end_it(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("SELECT"):
            Export.objects.filter(pk=export.pk).update(state="failed", finished_at=timezone.now())
        return execute(sql, *rest)

    with connection.execute_wrapper(end_it):
        assert exports.request(bob.user) == export
    assert Export.objects.get().state == "failed"


def test_the_database_lets_one_export_run_and_an_account_have_one(alice: Person, bob: Person) -> None:
    running, waiting = exports.request(alice.user), exports.request(bob.user)
    Export.objects.filter(pk=running.pk).update(state="running")

    exports.run(waiting.pk)

    assert Export.objects.get(pk=waiting.pk).state == "waiting"
    for state in ("waiting", "running"):
        with pytest.raises(IntegrityError), transaction.atomic():
            Export.objects.create(user=bob.user, state=state)


def test_large_holdings_come_in_parts(owned: Belongings, monkeypatch: Any) -> None:
    monkeypatch.setattr(packing, "PART_BYTES", 1000)
    export = exports.request(owned.person.user)

    exports.run(export.pk)

    export.refresh_from_db()
    client = logged_in(owned.person.user)
    names = [name for k in range(len(export.parts)) for name in unpack(download(client, export, k + 1))]
    assert len(export.parts) > 2
    assert len(names) == len(set(names))
    assert f"images/{owned.generation.pk}-1.png" in names
    assert download(client, export, len(export.parts) + 1).status_code == 404


def test_a_file_that_is_gone_does_not_spoil_the_rest(owned: Belongings, caplog: Any) -> None:
    default_storage.delete(owned.generation.image_name(0))
    export = exports.request(owned.person.user)

    exports.run(export.pk)

    files = unpack(download(logged_in(owned.person.user), Export.objects.get(pk=export.pk)))
    assert f"images/{owned.generation.pk}-2.png" in files
    assert f"images/{owned.generation.pk}-1.png" not in files
    assert files["missing.txt"].decode() == f"These could not be read:\nimages/{owned.generation.pk}-1.png\n"


def test_files_that_were_kept_long_enough_are_not_missed(owned: Belongings) -> None:
    Generation.objects.update(images_expired_at=timezone.now(), inputs_expired_at=timezone.now())
    storage.delete_images(owned.generation)
    storage.delete_inputs(owned.generation)
    export = exports.request(owned.person.user)

    exports.run(export.pk)

    files = unpack(download(logged_in(owned.person.user), Export.objects.get(pk=export.pk)))
    assert not [name for name in files if not name.endswith(".jsonl")]


def test_a_part_that_is_lost_is_said_and_the_page_offers_a_new_one(owned: Belongings) -> None:
    packing.remove(owned.export.parts)

    reply = logged_in(owned.person.user).get(f"/account/data/export/{owned.export.pk}/1/", follow=True)

    assert reply.redirect_chain == [("/account/data/", 302)]
    page = reply.content.decode()
    assert "This file is no longer stored. Pack everything again." in page
    assert "Make a new one" in page


def test_a_failure_is_shown_and_leaves_no_file(bob: Person, monkeypatch: Any, caplog: Any) -> None:
    export = exports.request(bob.user)
    monkeypatch.setattr(packing.Parcel, "add_lines", lambda *args: 1 / 0)
    with caplog.at_level(logging.CRITICAL):
        exports.run(export.pk)

    assert Export.objects.get().state == "failed"
    assert not [name for name in kept_files() if "exports/" in name]
    assert "The last export failed" in logged_in(bob.user).get("/account/data/").content.decode()


def test_a_worker_that_went_silent_is_replaced_and_can_write_nothing(bob: Person, monkeypatch: Any) -> None:
    export = exports.request(bob.user)
    slow = exports.claim(export.pk)
    assert slow
    Export.objects.update(touched_at=timezone.now() - exports.PATIENCE - timedelta(seconds=1))

    assert exports.due() == [export.pk]
    assert exports.due() == []  # it was asked for just now
    assert exports.claim(export.pk)
    with pytest.raises(exports.ClaimLost), packing.Parcel() as parcel:
        exports.pack(slow, parcel)

    export.refresh_from_db()
    assert (export.state, export.attempt, export.total) == ("running", 2, 0)
    assert not [name for name in kept_files() if "exports/" in name]


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_stores_a_part_slowly_is_not_replaced(bob: Person, monkeypatch: Any) -> None:
    monkeypatch.setattr(exports, "PATIENCE", timedelta(seconds=1))
    monkeypatch.setattr(exports, "WORD_SECONDS", 0.05)
    export, save, due = exports.request(bob.user), FolderStorage.save, []

    def save_slowly(*args: Any) -> str:
        time.sleep(2)
        due.append(exports.due())
        return save(*args)

    monkeypatch.setattr(FolderStorage, "save", save_slowly)
    exports.run(export.pk)

    export.refresh_from_db()
    assert (due, export.state, export.attempt, len(export.parts)) == ([[]], "ready", 1, 1)


def test_an_export_is_given_up_after_three_silences(bob: Person) -> None:
    export = exports.request(bob.user)
    Export.objects.update(state="running", attempt=3, touched_at=timezone.now() - timedelta(hours=1))

    assert exports.due() == []
    assert Export.objects.get(pk=export.pk).state == "failed"


def test_a_file_is_removed_after_a_week(owned: Belongings) -> None:
    client = logged_in(owned.person.user)
    Export.objects.update(expires_at=timezone.now())

    gone = download(client, owned.export).status_code
    jobs.sweep()

    assert gone == 404
    assert not Export.objects.exists()
    assert not [name for name in kept_files() if "exports/" in name]


def test_a_file_whose_worker_was_killed_is_removed_and_no_other(owned: Belongings) -> None:
    inputs = storages["inputs"]
    lost, being_made = (inputs.save(f"exports/{name}.zip", ContentFile(b"zip")) for name in ("lost", "being-made"))
    [known] = [part["name"] for part in owned.export.parts]
    for name in (lost, known):
        at = (timezone.now() - timedelta(hours=12, minutes=1)).timestamp()
        os.utime(inputs.path(name), (at, at))

    jobs.expire()

    assert [inputs.exists(name) for name in (lost, being_made, known)] == [False, True, True]


def make_another(user: User) -> Export:
    export = exports.request(user)
    exports.run(export.pk)
    return Export.objects.get(pk=export.pk)


def test_a_new_export_replaces_the_older_ones(owned: Belongings, bob: Person) -> None:
    theirs = make_another(bob.user)
    Export.objects.create(user=owned.person.user, state="failed")
    second, third = make_another(owned.person.user), make_another(owned.person.user)

    assert list(Export.objects.order_by("pk")) == [theirs, second, third]
    kept = {f"inputs/{part['name']}" for export in (theirs, second, third) for part in export.parts}
    assert {name for name in kept_files() if "exports/" in name} == kept


def test_the_export_before_the_newest_can_be_downloaded_to_its_end(owned: Belongings) -> None:
    newest = make_another(owned.person.user)

    owned.export.refresh_from_db()
    at = timezone.now()
    assert "entries.jsonl" in unpack(download(logged_in(owned.person.user), owned.export))
    assert at < owned.export.expires_at <= at + timedelta(hours=1)  # type: ignore[operator]
    assert newest.expires_at > at + timedelta(days=6)  # type: ignore[operator]


def test_a_file_is_its_owners_and_asks_for_the_password(owned: Belongings, bob: Person) -> None:
    stolen = Client()
    stolen.force_login(owned.person.user, "django.contrib.auth.backends.ModelBackend")

    assert download(logged_in(bob.user), owned.export).status_code == 404
    assert download(Client(), owned.export)["Location"].startswith("/account/login/")
    assert download(stolen, owned.export)["Location"].startswith("/account/reauthenticate/")


# Closing the account


@pytest.fixture
def _settled(owned: Belongings) -> None:
    """Every generation that is over has been over for a while."""
    Generation.objects.exclude(finished_at=None).update(finished_at=timezone.now() - timedelta(hours=1))


def test_the_page_says_what_becomes_of_everything(owned: Belongings) -> None:
    page = logged_in(owned.person.user).get("/account/close/").content.decode()

    for words in ("every API key is refused", "Every image", "Your plan ends now", "credits</strong> left"):
        assert words in page


@pytest.mark.parametrize("email", ["", "bob@example.org", "alice"])
def test_it_is_closed_for_nobody_who_does_not_mean_it(owned: Belongings, email: str) -> None:
    reply = logged_in(owned.person.user).post("/account/close/", {"email": email})

    assert reply.context["form"].errors["email"]
    assert User.objects.get(pk=owned.person.user.pk).is_active
    assert authenticate(owned.person.key)


def test_closing_asks_for_the_password(owned: Belongings) -> None:
    stolen = Client()
    stolen.force_login(owned.person.user, "django.contrib.auth.backends.ModelBackend")

    reply = stolen.post("/account/close/", {"email": "alice@example.org"})

    assert reply["Location"].startswith("/account/reauthenticate/")
    assert User.objects.get(pk=owned.person.user.pk).is_active


def test_staff_are_not_closed_by_themselves(charlie: Person) -> None:
    logged_in(charlie.user).post("/account/close/", {"email": charlie.user.email})

    assert User.objects.get(pk=charlie.user.pk).is_active


def test_the_door_is_shut_at_once(owned: Belongings, client: Client) -> None:
    other = logged_in(owned.person.user)
    reply = logged_in(owned.person.user).post("/account/close/", {"email": "Alice@example.org"})

    user = User.objects.get(pk=owned.person.user.pk)
    assert "Your account is closed" in reply.content.decode()
    assert other.get("/keys/").status_code == 302
    client.post("/account/login/", {"login": "alice@example.org", "password": "correct horse"})
    assert client.get("/keys/").status_code == 302
    with pytest.raises(InvalidKey):
        authenticate(owned.person.key)
    assert (user.is_active, user.has_usable_password()) == (False, False)
    assert "alice" not in user.email


def test_what_is_still_sent_after_the_closing_is_signed_by_a_new_secret_alone(bob: Person) -> None:
    bob.user.rotate_webhook_secret()
    secrets = bob.user.live_webhook_secrets

    closing.close(bob.user)

    user = User.objects.get(pk=bob.user.pk)
    assert user.live_webhook_secrets == [user.webhook_secret]
    assert user.webhook_secret not in secrets
    headers = signing.headers(user, "msg_1", b"{}", timezone.now())
    assert len(headers["webhook-signature"].split()) == 1


def test_the_address_may_sign_up_again(owned: Belongings) -> None:
    closing.close(owned.person.user)

    again = User.objects.create_user("alice@example.org")

    assert again.pk != owned.person.user.pk


@pytest.mark.usefixtures("_settled")
def test_images_and_words_are_erased_and_the_ledger_stays(owned: Belongings, bob: Person) -> None:
    theirs = furnish_quietly(bob)
    entries = set(Entry.objects.filter(wallet__user=owned.person.user).values_list("pk", "credits"))
    closing.close(owned.person.user)
    jobs.erase(owned.person.user.pk)  # cancels what is queued
    Generation.objects.exclude(finished_at=None).update(finished_at=timezone.now() - timedelta(hours=1))
    let_an_hour_pass_since_closing(owned.person.user)

    jobs.sweep()
    jobs.erase(owned.person.user.pk)

    mine = Generation.objects.filter(account=owned.person.user)
    assert User.objects.get(pk=owned.person.user.pk).erased_at
    assert kept_files() == theirs
    assert {(g.params["prompt"], g.init_image_url, g.webhook_url, g.track_id) for g in mine} == {("", "", "", None)}
    assert all(g.deleted_at and g.files_removed_at for g in mine)
    assert not Endpoint.objects.exists()
    assert not Event.objects.exists()
    assert not Export.objects.exists()
    assert entries < set(Entry.objects.filter(wallet__user=owned.person.user).values_list("pk", "credits"))
    assert Wallet.objects.get(user=owned.person.user).held == 0


def furnish_quietly(person: Person) -> set[str]:
    """Let a person keep a start image, and return the names of what is theirs."""
    ledger.grant(person.user.pk, 10, "test:more")
    name = storage.save_input(picture("cat.jpg"))
    services.submit(person.user, Params("img2img", "mine", seed=1), Inputs(init_image_name=name))
    return {f"inputs/{name}"}


def test_what_a_worker_may_still_be_writing_is_erased_later(owned: Belongings) -> None:
    closing.close(owned.person.user)

    jobs.erase(owned.person.user.pk)

    assert User.objects.get(pk=owned.person.user.pk).erased_at is None
    assert closing.due() == [owned.person.user.pk]
    assert not TopUp.objects.exists()


def test_what_a_request_from_before_the_closing_still_wrote_is_erased_too(bob: Person) -> None:
    closing.close(bob.user)
    jobs.erase(bob.user.pk)
    furnish_quietly(bob)

    for _ in range(2):  # what is queued is canceled first
        let_an_hour_pass_since_closing(bob.user)
        for pk in closing.due():
            jobs.erase(pk)
        Generation.objects.update(finished_at=timezone.now() - timedelta(hours=1))

    assert kept_files() == set()
    assert Generation.objects.get().params["prompt"] == ""
    assert User.objects.get(pk=bob.user.pk).erased_at


def test_an_export_that_is_finished_while_it_is_deleted_leaves_no_file(
    alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Export.objects.create(user=alice.user, state="failed")
    second = Export.objects.create(user=bob.user, state="running")
    removed = []

    def remove(parts: list[str]) -> None:
        removed.append(parts)
        now = timezone.now()
        Export.objects.filter(pk=second.pk).update(
            state="ready", parts=["exports/b.zip"], finished_at=now, expires_at=now
        )

    monkeypatch.setattr(packing, "remove", remove)
    exports.delete(Export.objects.filter(pk__in=[first.pk, second.pk]).order_by("pk"))

    assert removed == [[], ["exports/b.zip"]]
    assert not Export.objects.exists()


@pytest.mark.usefixtures("_settled")
def test_erasing_twice_does_no_harm(owned: Belongings) -> None:
    Generation.objects.filter(finished_at=None).delete()
    closing.close(owned.person.user)
    closing.close(owned.person.user)
    let_an_hour_pass_since_closing(owned.person.user)
    jobs.erase(owned.person.user.pk)
    erased_at = User.objects.get(pk=owned.person.user.pk).erased_at
    jobs.erase(owned.person.user.pk)

    assert erased_at
    assert User.objects.get(pk=owned.person.user.pk).erased_at == erased_at


def test_an_open_account_is_never_erased(owned: Belongings) -> None:
    jobs.erase(owned.person.user.pk)

    assert Endpoint.objects.exists()


def jobs_that_wait() -> list[str]:
    return [f"{job.func_name} {job.args} {job.timeout}" for job in nudges.named("io").get_jobs()]


def begin_first_job(seconds_to_live: int) -> None:
    """Do what a worker does that takes a job: it lives for so long, and says no more."""
    io = nudges.named("io")
    job = io.fetch_job(io.pop_job_id() or "")
    assert job
    with nudges.redis().pipeline() as pipeline:
        Execution.create(job, seconds_to_live, pipeline)
        job.prepare_for_execution("worker", pipeline)
        pipeline.execute()


def test_an_account_that_takes_long_is_erased_by_one_worker(
    bob: Person, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        closing.close(bob.user)
    asked = [f"accounts.jobs.erase [{bob.user.pk}] {12 * 3600}"]

    jobs.sweep()
    while_it_waits = jobs_that_wait()
    begin_first_job(seconds_to_live=60)
    for _ in range(2):
        jobs.sweep()

    assert while_it_waits == asked
    assert jobs_that_wait() == []


def test_an_account_whose_worker_died_is_asked_for_again(bob: Person) -> None:
    closing.close(bob.user)
    jobs.sweep()
    begin_first_job(seconds_to_live=0)

    for _ in range(2):
        jobs.sweep()

    assert jobs_that_wait() == [f"accounts.jobs.erase [{bob.user.pk}] {12 * 3600}"]


# Time zone


def test_the_time_zone_is_chosen_from_the_worlds(alice: Person) -> None:
    client = logged_in(alice.user)

    good = client.post("/account/preferences/", {"time_zone": "Asia/Tokyo"})
    bad = client.post("/account/preferences/", {"time_zone": "Mars/Olympus"})

    assert good["Location"] == "/account/preferences/"
    assert "time_zone" in bad.context["form"].errors
    assert User.objects.get(pk=alice.user.pk).time_zone == "Asia/Tokyo"
