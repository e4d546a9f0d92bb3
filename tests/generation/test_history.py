"""The history: filters, pages, words, and what is done with many generations at once."""

import io
import re
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.files.storage import default_storage, storages
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import ApiKey
from billing import ledger
from billing.models import Entry
from generation import archive, erasure, history, queue, services, storage
from generation.history import Cursor, Filters
from generation.models import Delivery, Endpoint, Event, Generation, Status
from generation.params import Inputs
from generation.sweep import sweep
from generation.webhooks import listening, outbox
from tests.conftest import Person
from tests.generation.conftest import Submit, row, small
from tests.sessions import logged_in

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.fixture
def site(alice: Person) -> Client:
    """Alice's browser."""
    return logged_in(alice.user)


@pytest.fixture
def rich_bob(bob: Person) -> Person:
    """Bob, who can make something too."""
    ledger.grant(bob.user.pk, 10, "test:bob")
    return bob


def finish(generation: Generation, model: str = "one", nsfw: tuple[bool, ...] = (False,)) -> Generation:
    """Let a worker end it, with images that are easily told apart."""
    claim = services.claim(generation.pk)
    assert claim
    for k in range(len(nsfw)):
        storage.save_image(claim, k, f"image {k} of {claim.pk}".encode(), as_base64=False)
        storage.save_thumbnail(claim, k, b"small")
    assert services.succeed(claim, nsfw, 0.5, 0.5, model, "", "")
    return row(generation)


def old(account: Any, count: int, at: datetime = NOON, **fields: Any) -> list[Generation]:
    """Write generations that ended, several in the same instant."""
    rows = [
        Generation(
            account=account,
            status=Status.CANCELED,
            params=small().as_json(),
            inputs_ready=True,
            held_credits=1,
            created_at=at - timedelta(seconds=k // 3),
            finished_at=at,
            **fields,
        )
        for k in range(count)
    ]
    return Generation.objects.bulk_create(rows)


@pytest.fixture
def made(alice: Person, rich_bob: Person, submit: Submit) -> dict[int, str]:
    """One of each sort, by what it is called in these tests, and one of bob's."""
    init, mask = storage.save_input(b"start"), storage.save_input(b"mask")
    second = Person(alice.user, *ApiKey.create(alice.user, "second"))
    generations = {
        "words": finish(submit()),
        "blanked": finish(submit(samples=2, by=second), "two", (True, False)),
        "failed": submit(Inputs(init_image_name=init), mode="img2img"),
        "canceled": submit(Inputs(init_image_name=init, mask_image_name=mask), mode="inpaint"),
        "queued": submit(),
        "by hand": services.submit(alice.user, small(), Inputs()),
        "bob's": submit(by=rich_bob),
    }
    claim = services.claim(generations["failed"].pk)
    assert claim
    assert services.fail(claim)
    assert services.cancel(generations["canceled"].pk)
    for k, generation in enumerate(generations.values()):
        Generation.objects.filter(pk=generation.pk).update(created_at=NOON - timedelta(days=k))
    return {generation.pk: name for name, generation in generations.items()}


FILTERS = [
    ("", "words blanked failed canceled queued by-hand"),
    ("status=success", "words blanked"),
    ("status=failed", "failed"),
    ("status=canceled", "canceled"),
    ("status=queued", "queued by-hand"),
    ("status=processing", ""),
    ("mode=text2img", "words blanked queued by-hand"),
    ("mode=img2img", "failed"),
    ("mode=inpaint", "canceled"),
    ("model=one", "words"),
    ("model=two", "blanked"),
    ("api_key={second}", "blanked"),
    ("api_key={test}", "words failed canceled queued"),
    ("api_key=pages", "by-hand"),
    ("since=2026-03-09", "words blanked"),
    ("until=2026-03-06", "queued by-hand"),
    ("since=2026-03-08&until=2026-03-08", "failed"),
    ("blanked=on", "blanked"),
    ("status=success&mode=text2img&model=two&api_key={second}&since=2026-03-01&blanked=on&words=cat", "blanked"),
    ("status=success&model=one&blanked=on", ""),
    ("since=0001-01-01&until=9999-12-31", "words blanked failed canceled queued by-hand"),
]


@pytest.mark.parametrize(("query", "expected"), FILTERS, ids=[query for query, _ in FILTERS])
def test_each_filter_finds_exactly_what_it_names(
    site: Client, alice: Person, made: dict[int, str], query: str, expected: str
) -> None:
    keys = dict(ApiKey.objects.filter(user=alice.user).values_list("name", "pk"))

    reply = site.get(f"/history/?{query.format(**keys)}")

    assert reply.status_code == 200
    found = [made[generation.pk].replace(" ", "-") for generation in reply.context["page"].generations]
    assert found == expected.split()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=lost", "status"),
        ("mode=video", "mode"),
        ("model=bob's", "model"),
        ("api_key={bobs}", "api_key"),
        ("since=yesterday", "since"),
        ("since=2026-03-02&until=2026-03-01", "until"),
        ("words=a%00b", "words"),
    ],
)
def test_a_filter_that_makes_no_sense_says_so_and_finds_nothing(
    site: Client, made: dict[int, str], bob: Person, query: str, field: str
) -> None:
    reply = site.get(f"/history/?{query.format(bobs=bob.api_key.pk)}")

    assert (reply.status_code, list(reply.context["form"].errors), reply.context["page"]) == (200, [field], None)
    assert "These filters can't be used" in reply.content.decode()


def test_pages_follow_each_other_and_neither_skip_nor_repeat(site: Client, alice: Person) -> None:
    rows = old(alice.user, 101)
    expected = [generation.pk for generation in sorted(rows, key=lambda g: (g.created_at, g.pk), reverse=True)]

    seen, address = [], "/history/"
    while address:
        reply = site.get(address, HTTP_HX_REQUEST="true", HTTP_HX_TARGET="more")
        seen += [generation.pk for generation in reply.context["page"].generations]
        assert "<html" not in reply.content.decode()
        old(alice.user, 1, datetime.now(UTC))  # what is made meanwhile moves nothing
        address = reply.context["more"]

    assert seen == expected


@pytest.mark.parametrize("filters", [Filters(), Filters(words="cat"), Filters(status="canceled", words="a ca")])
@pytest.mark.parametrize("looked_through", [500, 2])
def test_every_page_size_gives_the_same_rows(
    alice: Person, monkeypatch: pytest.MonkeyPatch, filters: Filters, looked_through: int
) -> None:
    monkeypatch.setattr(history, "RECENT_ROWS", looked_through)
    rows = old(alice.user, 13)
    expected = [generation.pk for generation in sorted(rows, key=lambda g: (g.created_at, g.pk), reverse=True)]

    for size in (1, 4, 12, 13):
        seen: list[int] = []
        page = history.page(alice.user, filters, rows=size)
        while True:
            seen += [generation.pk for generation in page.generations]
            if page.after is None:
                break
            page = history.page(alice.user, filters, Cursor.read(str(page.after)), rows=size)
        assert seen == expected


@pytest.mark.parametrize(
    "after", ["x", "1", "1_", "_1", "-1_1", "1_1_1", "9" * 18 + "_1", "1_" + "9" * 19, "٣_٣", "1_1\n"]
)
def test_a_place_that_can_not_be_read_is_the_beginning(site: Client, alice: Person, after: str) -> None:
    old(alice.user, 1)

    assert len(site.get("/history/", {"after": after}).context["page"].generations) == 1


@pytest.mark.parametrize("after", ["0_0", "9" * 17 + "_" + "9" * 18])
def test_a_place_beyond_the_ends_is_one_too(site: Client, after: str) -> None:
    assert site.get("/history/", {"after": after}).status_code == 200


@pytest.mark.parametrize("view", ["gallery", "table"])
def test_more_generations_take_no_more_queries(site: Client, alice: Person, view: str) -> None:
    old(alice.user, 2, api_key=alice.api_key)
    site.get(f"/history/?view={view}")

    with CaptureQueriesContext(connection) as few:
        site.get(f"/history/?view={view}")
    old(alice.user, 60, api_key=alice.api_key)
    with CaptureQueriesContext(connection) as many:
        site.get(f"/history/?view={view}")

    assert len(few) == len(many)


PROMPTS = [
    *("a black cat", "Katzen, CATS and dogs", "concatenate", "straße in Öl", "100% wool_sock", "it's (a:1.3) dog"),
    *("<lora:fox:0.7> owl/hare", "trending on art.com, 1.5-2 m"),
]
SEARCHES = [
    ("cat", [0, 1]),
    ("CAT", [0, 1]),
    ("ca", [0, 1]),
    ("cat black", [0]),
    ("black cat", [0]),
    ("cat dog", [1]),
    ("dog", [1, 5]),
    ("straße", [3]),
    ("öl", [3]),
    ("100%", [4]),
    ("sock", [4]),
    ("wool_so", [4]),
    ("²", []),
    ("cat' | 'dog", [1]),
    ("cat & !black", [0]),
    ("fox", [6]),
    ("hare", [6]),
    ("com", [7]),
    ("art.com", [7]),
    ("lion", []),
    ("'); DROP TABLE", []),
]


@pytest.mark.parametrize("looked_through", [500, 1], ids=["newest rows", "index of words"])
@pytest.mark.parametrize(("words", "expected"), SEARCHES, ids=[words for words, _ in SEARCHES])
def test_words_begin_words_of_the_prompt(
    alice: Person,
    bob: Person,
    monkeypatch: pytest.MonkeyPatch,
    looked_through: int,
    words: str,
    expected: list[int],
) -> None:
    monkeypatch.setattr(history, "RECENT_ROWS", looked_through)
    places = {}
    for k, prompt in enumerate(PROMPTS):
        for account in (alice.user, bob.user):
            [generation] = old(account, 1, NOON - timedelta(minutes=k))
            Generation.objects.filter(pk=generation.pk).update(params=small(prompt=prompt).as_json())
            if account == alice.user:
                places[generation.pk] = k

    found = history.page(alice.user, Filters(words=words))

    assert [places[generation.pk] for generation in found.generations] == expected


def test_sqlite_finds_the_same_words(on_sqlite: Callable[[str], str]) -> None:
    printed = on_sqlite(f"""
from datetime import datetime, timedelta, UTC
from accounts.models import User
from generation import history
from generation.models import Generation
from generation.params import Params
user = User.objects.create_user("alice@example.org")
for k, prompt in enumerate({PROMPTS!r}):
    Generation.objects.create(
        account=user, params=Params("text2img", prompt, 1).as_json(), inputs_ready=True, held_credits=1,
        created_at=datetime.now(UTC) - timedelta(minutes=k),
    )
first = Generation.objects.earliest("pk").pk
for words, _ in {SEARCHES!r}:
    print([generation.pk - first for generation in history.page(user, history.Filters(words=words)).generations])
""")

    assert printed.splitlines() == [str(expected) for _, expected in SEARCHES]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_words_are_found_day_by_day_from_the_newest_of_the_account(
    alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(history, "RECENT_ROWS", 1)
    midnight = datetime(2026, 3, 10, tzinfo=UTC)
    instants = [
        *(midnight + timedelta(hours=1), midnight, midnight - timedelta(microseconds=1), midnight - timedelta(hours=5)),
        *(midnight - timedelta(days=days) for days in (40, 41, 400)),
    ]
    rows = [row for at in instants for row in old(alice.user, 1, at)]
    for at in instants:
        old(bob.user, 2, at)
    dogs = [rows[k].pk for k in (2, 5)]
    Generation.objects.filter(pk__in=dogs).update(params=small(prompt="a dog").as_json())
    cats = [row.pk for row in rows if row.pk not in dogs]

    def found(**filters: Any) -> list[int]:
        seen, after, more = [], None, True
        while more:
            page = history.page(alice.user, Filters(**filters), after, rows=size)
            seen += [generation.pk for generation in page.generations]
            after, more = page.after, page.after is not None
        return seen

    assert found(words="cat") == cats
    assert found(words="dog") == dogs
    assert found(words="cat", until=midnight.date() - timedelta(days=1)) == cats[2:]
    assert found(words="cat", since=midnight.date() - timedelta(days=40)) == cats[:4]
    assert found(words="cat", since=midnight.date(), until=midnight.date()) == cats[:2]
    assert found(words="cat", status="failed") == []


def test_words_are_looked_for_in_their_index_and_no_further_back_than_needed(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "RECENT_ROWS", 1)
    for days in range(5):
        old(alice.user, 200, NOON - timedelta(days=days))  # with fewer, PostgreSQL would rather look at each

    with CaptureQueriesContext(connection) as queries:
        history.page(alice.user, Filters(words="cat"), rows=300)
    [asked] = [query["sql"] for query in queries if "RECURSIVE" in query["sql"]]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("ANALYZE generation_generation; SET LOCAL enable_seqscan = off")
        plan = "\n".join(line for (line,) in cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF) {asked}"))

    assert re.search(r"Bitmap Index Scan on history_words_of_a_day .*loops=2\)", plan), plan
    assert "Seq Scan on generation" not in plan


def test_looking_for_words_leaves_the_planner_as_it_was(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "RECENT_ROWS", 1)
    old(alice.user, 4)

    def planning() -> list[tuple[str]]:
        with connection.cursor() as cursor:
            return [cursor.execute(f"SHOW {name}").fetchone() for name in history.PLANNING]

    before = planning()
    history.page(alice.user, Filters(words="cat"))

    assert planning() == before == [("on",), ("on",)]


@pytest.mark.parametrize("words", ["account", "!!!", "&|!():*", "_", "²", "\\", "'", "a" * 200])
@pytest.mark.parametrize("looked_through", [500, 1])
def test_no_words_break_the_search(
    site: Client, alice: Person, monkeypatch: pytest.MonkeyPatch, words: str, looked_through: int
) -> None:
    monkeypatch.setattr(history, "RECENT_ROWS", looked_through)
    old(alice.user, 3)

    assert site.get("/history/", {"words": words}).status_code == 200


def test_an_empty_history_says_what_to_do(site: Client, alice: Person) -> None:
    assert "No images yet" in site.get("/history/").content.decode()
    old(alice.user, 1)
    assert "Nothing passes these filters" in site.get("/history/?status=success").content.decode()


def test_the_chosen_images_come_as_one_zip_file(site: Client, submit: Submit, rich_bob: Person) -> None:
    first, second = finish(submit()), finish(submit(samples=2), nsfw=(False, False))
    unfinished, bobs, unchosen = submit(), finish(submit(by=rich_bob)), finish(submit())

    chosen = [first.pk, second.pk, unfinished.pk, bobs.pk, "x", "-1", "9" * 30]
    reply = site.post("/history/download", {"chosen": chosen})

    assert reply["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(reply.content)) as file:
        assert file.testzip() is None
        assert {name: file.read(name).decode() for name in file.namelist()} == {
            archive.file_name(generation, k): f"image {k} of {generation.pk}"
            for generation, k in ((first, 0), (second, 0), (second, 1))
        }
    assert unchosen.status == Status.SUCCESS


def test_an_image_that_is_lost_is_named_in_the_zip_file(site: Client, submit: Submit) -> None:
    first, second = finish(submit()), finish(submit())
    default_storage.delete(first.image_name(0))

    reply = site.post("/history/download", {"chosen": [first.pk, second.pk]})

    with zipfile.ZipFile(io.BytesIO(reply.content)) as file:
        assert file.namelist() == [archive.file_name(second, 0), "missing.txt"]
        assert file.read("missing.txt").decode() == f"These could not be read:\natelier-{first.pk}-1.png\n"


@pytest.mark.parametrize("chosen", [[], ["x"], ["{queued}"], ["{bobs}"]])
def test_nothing_to_download_is_said(site: Client, submit: Submit, rich_bob: Person, chosen: list[str]) -> None:
    facts = {"queued": submit().pk, "bobs": finish(submit(by=rich_bob)).pk}

    reply = site.post("/history/download", {"chosen": [pk.format(**facts) for pk in chosen]}, follow=True)

    assert reply.redirect_chain == [("/history/", 302)]
    assert "Choose generations that have images." in reply.content.decode()


def test_deleting_asks_first(site: Client, submit: Submit, rich_bob: Person) -> None:
    generations, bobs = [finish(submit()) for _ in range(2)], finish(submit(by=rich_bob))

    reply = site.post("/history/delete", {"chosen": [*(g.pk for g in generations), bobs.pk]})

    page = reply.content.decode()
    assert "Delete 2 generations?" in page
    assert page.count('name="chosen"') == 2
    assert f'value="{bobs.pk}"' not in page
    assert not Generation.objects.filter(deleted_at__isnull=False).exists()


def test_a_large_number_is_asked_for_as_it_is(site: Client, alice: Person) -> None:
    old(alice.user, 1, pk=1_234_567)

    page = site.post("/history/delete", {"chosen": ["1234567"]}).content.decode()

    assert 'name="chosen" value="1234567"' in page


def test_deleting_removes_it_from_every_page_and_leaves_others_alone(
    site: Client, submit: Submit, rich_bob: Person
) -> None:
    gone, kept, bobs = finish(submit()), finish(submit()), finish(submit(by=rich_bob))

    form = {"chosen": [gone.pk, bobs.pk, "9" * 5000], "confirmed": "yes"}
    reply = site.post("/history/delete", form, follow=True)

    assert "1 generation was deleted." in reply.content.decode()
    assert [generation.pk for generation in reply.context["page"].generations] == [kept.pk]
    for address in ("", "state", "code", "events", "images/0.png"):
        assert site.get(f"/history/{gone.pk}/{address}").status_code == 404
    assert site.post(f"/history/{gone.pk}/again").status_code == 404
    assert row(bobs).deleted_at is None


def test_deleting_removes_files_and_words_and_keeps_what_the_ledger_needs(
    site: Client, alice: Person, submit: Submit, django_capture_on_commit_callbacks: Any
) -> None:
    names = storage.save_input(b"start"), storage.save_input(b"mask")
    inputs = Inputs(init_image_name=names[0], mask_image_name=names[1])
    secret = {"prompt": "my secret", "negative_prompt": "my other secret"}
    asked = submit(inputs, track_id="order-7", mode="inpaint", samples=2, base64=True, strength=1.0, **secret)
    generation = finish(asked, nsfw=(False, True))
    storage.save_image(generation, 1, b"x", as_base64=True)
    entries, balance = list(Entry.objects.values().order_by("pk")), alice.balance

    with django_capture_on_commit_callbacks(execute=True):
        site.post(f"/history/{generation.pk}/delete", {"confirmed": "yes"})

    jobs = queue.named("io").get_jobs()
    assert [(job.func_name, job.args) for job in jobs] == [("generation.jobs.remove_files", [generation.pk])]
    jobs[0].perform()
    assert storages["inputs"].listdir("")[1] == []
    assert default_storage.listdir("generations")[1] == []
    after = row(generation)
    assert after.params == generation.params | {"prompt": "", "negative_prompt": ""}
    assert (after.track_id, after.init_image_name, after.mask_image_name) == (None, "", "")
    assert (after.held_credits, after.charged_credits, after.status) == (2, 1, Status.SUCCESS)
    assert after.files_removed_at is not None
    assert "secret" not in str(Generation.objects.values().get(pk=generation.pk))
    assert (list(Entry.objects.values().order_by("pk")), alice.balance) == (entries, balance)


def test_deleting_forgets_what_webhooks_told(alice: Person, submit: Submit) -> None:
    listening.add(Endpoint(account=alice.user, url="https://example.org/", events=["queued", "success"]))
    gone, kept = finish(submit(prompt="my secret")), finish(submit())
    Delivery.objects.update(state=Delivery.State.DELIVERED)

    erasure.delete(alice.user, [gone.pk])

    assert set(Event.objects.values_list("generation", "type")) == {(kept.pk, "queued"), (kept.pk, "success")}
    assert set(Delivery.objects.values_list("generation", flat=True)) == {kept.pk}


def test_a_webhook_that_is_due_is_sent_after_the_deletion_and_then_forgotten(alice: Person, submit: Submit) -> None:
    url = "https://example.org/"
    listening.add(Endpoint(account=alice.user, url=url, events=["queued", "success"]))
    generation = finish(submit(prompt="my secret", webhook_url=f"{url}own"))
    told, due = Delivery.objects.order_by("pk")[:2]
    Delivery.objects.filter(pk=told.pk).update(state=Delivery.State.DELIVERED)

    erasure.delete(alice.user, [generation.pk])
    sweep()

    assert list(Delivery.objects.values_list("url", "state")) == [(url, "pending"), (f"{url}own", "pending")]
    assert b"my secret" in outbox.body(due)
    assert listening.events_after(alice.user, 0, 10) == []

    Delivery.objects.filter(pk=due.pk).update(state=Delivery.State.DELIVERED)
    sweep()
    assert Delivery.objects.count() == 2  # the other address still waits

    Delivery.objects.exclude(pk=due.pk).update(state=Delivery.State.GIVEN_UP)
    sweep()
    assert not Event.objects.exists()


def test_deleting_what_is_under_way_cancels_it_and_charges_nothing(alice: Person, submit: Submit) -> None:
    queued, running = submit(), submit()
    claim = services.claim(running.pk)
    assert claim
    assert alice.balance == 998

    assert erasure.delete(alice.user, [queued.pk, running.pk]) == 2

    assert (row(queued).status, row(running).status, alice.balance) == (Status.CANCELED, Status.CANCELED, 1000)
    assert not services.succeed(claim, [False], 1, 1, "one", "", "")


def test_files_that_nobody_removed_are_asked_for_again(
    alice: Person, submit: Submit, django_capture_on_commit_callbacks: Any
) -> None:
    generation = finish(submit())
    erasure.delete(alice.user, [generation.pk])
    with django_capture_on_commit_callbacks() as asked:
        erasure.ring_overdue()
    assert asked == []  # the worker has had no time yet
    Generation.objects.update(deleted_at=datetime.now(UTC) - timedelta(minutes=2))

    with django_capture_on_commit_callbacks(execute=True):
        erasure.ring_overdue()

    assert [job.args for job in queue.named("io").get_jobs()] == [[generation.pk]]
    erasure.remove_files(generation.pk)
    erasure.remove_files(generation.pk)
    assert not default_storage.exists(generation.image_name(0))


def test_files_whose_removal_waits_are_not_asked_for_again(
    alice: Person, submit: Submit, django_capture_on_commit_callbacks: Any
) -> None:
    known, forgotten = finish(submit()), finish(submit())
    with django_capture_on_commit_callbacks(execute=True):
        erasure.delete(alice.user, [known.pk, forgotten.pk])
    queue.named("io").remove(f"remove-{forgotten.pk}")
    Generation.objects.update(deleted_at=datetime.now(UTC) - timedelta(minutes=2))

    for _ in range(2):
        with django_capture_on_commit_callbacks(execute=True):
            erasure.ring_overdue()

    assert [job.args for job in queue.named("io").get_jobs()] == [[known.pk], [forgotten.pk]]


def test_only_what_was_deleted_loses_its_files(submit: Submit) -> None:
    generation = finish(submit())

    erasure.remove_files(generation.pk)

    assert default_storage.exists(generation.image_name(0))


def test_the_page_of_a_generation_tells_all_of_it(site: Client, submit: Submit) -> None:
    generation = finish(submit(prompt="<i>a cat</i>", seed=1234567, samples=2), "dreamshaper", (False, True))

    page = site.get(f"/history/{generation.pk}/").content.decode()

    for words in ("&lt;i&gt;a cat&lt;/i&gt;", "1234567", "1234568", "dreamshaper", "blanked by the safety checker"):
        assert words in page
    assert "<i>" not in page


@pytest.mark.parametrize("start_image_too", [False, True])
def test_the_page_says_what_is_left_where_images_expired(site: Client, submit: Submit, start_image_too: bool) -> None:
    inputs = Inputs(init_image_name=storage.save_input(b"start"))
    generation = finish(submit(inputs, mode="img2img", strength=0.5))
    now = timezone.now()
    expired = {"images_expired_at": now} | ({"inputs_expired_at": now} if start_image_too else {})
    Generation.objects.filter(pk=generation.pk).update(**expired)

    page = site.get(f"/history/{generation.pk}/").content.decode()

    rest = "." if start_image_too else ", and so is the start image."
    assert f"The images were removed</h2><p>Their parameters are still here{rest}</p>" in page


def test_images_are_sent_to_their_owner_alone(site: Client, bob: Person, submit: Submit) -> None:
    generation = finish(submit())
    address = f"/history/{generation.pk}/images/0.png"

    shown, kept = site.get(address), site.get(f"{address}?download")

    assert shown.content == f"image 0 of {generation.pk}".encode()
    assert shown["Content-Disposition"] == f'inline; filename="atelier-{generation.pk}-1.png"'
    assert kept["Content-Disposition"] == f'attachment; filename="atelier-{generation.pk}-1.png"'
    assert shown["Cache-Control"] == "private, max-age=3600"
    assert logged_in(bob.user).get(address).status_code == 404
    assert site.get(f"/history/{generation.pk}/images/1.png").status_code == 404
