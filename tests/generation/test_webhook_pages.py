"""The pages under /webhooks/."""

import random
import re
import threading
import time
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from accounts.models import User
from generation import services
from generation.models import Delivery, Endpoint, Event, SilencedUrl
from generation.webhooks import listening, outbox
from generation.webhooks.forms import EndpointForm
from tests.conftest import Person
from tests.generation.conftest import Submit
from tests.generation.hostile_server import HostileServer, answer, serving
from tests.generation.webhook_clock import send_due
from tests.plans import plans
from tests.racing import race

AT_RANDOM = "".join(map(chr, random.Random(0).choices(range(0x4E00, 0x9FA6), k=2000)))  # nothing to compress
FORM = {"url": "https://example.org/hook", "events": ["success"], "low_balance_credits": "100", "is_on": "on"}


@pytest.fixture
def pages(alice: Person) -> Client:
    client = Client()
    client.force_login(alice.user)
    return client


@pytest.fixture
def strangers(bob: Person) -> Client:
    client = Client()
    client.force_login(bob.user)
    return client


@pytest.fixture
def receiver(settings: Any) -> Iterator[HostileServer]:
    with serving() as server:
        settings.FETCH_ALLOWED_HOSTS = frozenset({server.host})
        yield server


def add(person: Person, url: str = "https://example.org/hook") -> Endpoint:
    endpoint = Endpoint(account=person.user, url=url)
    listening.add(endpoint)
    return endpoint


def test_an_endpoint_is_added_and_listed(pages: Client, alice: Person) -> None:
    empty = pages.get("/webhooks/").content.decode()

    reply = pages.post("/webhooks/", FORM, follow=True)

    endpoint = Endpoint.objects.get()
    assert "No endpoints yet" in empty
    assert empty.count(" checked") == 4  # success, failed, canceled, and that it is on
    assert (endpoint.account, endpoint.url, endpoint.events, endpoint.is_on) == (
        alice.user,
        "https://example.org/hook",
        ["success"],
        True,
    )
    assert "https://example.org/hook" in reply.content.decode()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"url": "ftp://example.org/"}, "Enter an http or https address"),
        ({"url": "nonsense"}, "Enter an http or https address"),
        ({"url": f"https://example.org/{AT_RANDOM[:677]}"}, "Enter an address of at most 2048 bytes in UTF-8."),
        ({"url": f"https://example.org/{AT_RANDOM}"}, "Enter an address of at most 2048 bytes in UTF-8."),
        ({"url": "https://taken.example/"}, "There is an endpoint with this address already."),
        ({"events": []}, "This field is required."),
        ({"events": ["ping"]}, "ping is not one of the available choices"),
        ({"low_balance_credits": "-1"}, "greater than or equal to 0"),
    ],
)
def test_what_is_wrong_is_said_beside_the_field_and_nothing_is_added(
    pages: Client, alice: Person, changes: dict[str, Any], words: str
) -> None:
    add(alice, "https://taken.example/")

    reply = pages.post("/webhooks/", FORM | changes)

    assert reply.status_code == 422
    assert words in reply.content.decode()
    assert Endpoint.objects.count() == 1


def test_the_longest_address_is_added(pages: Client) -> None:
    longest = f"https://example.org/{AT_RANDOM[:676]}"  # 2048 bytes

    pages.post("/webhooks/", FORM | {"url": longest})

    assert Endpoint.objects.get().url == longest


def test_one_too_many_is_refused(pages: Client, alice: Person) -> None:
    for k in range(20):
        add(alice, f"https://example.org/{k}")

    assert "at most 20 endpoints" in pages.post("/webhooks/", FORM).content.decode()


def test_an_endpoint_is_changed_and_deleted(pages: Client, alice: Person) -> None:
    endpoint = add(alice)

    pages.post(f"/webhooks/{endpoint.pk}/", FORM | {"is_on": "", "events": ["failed", "canceled"]})
    endpoint.refresh_from_db()
    changed = (endpoint.is_on, endpoint.events)
    pages.post(f"/webhooks/{endpoint.pk}/delete")

    assert changed == (False, ["failed", "canceled"])
    assert not Endpoint.objects.exists()


def test_a_test_is_sent_and_its_page_shows_what_came_of_it(
    pages: Client, alice: Person, receiver: HostileServer
) -> None:
    endpoint = add(alice, receiver.url("/hook", answer(b"<b>no</b>", status="404 Not Found")))
    waiting = pages.post(f"/webhooks/{endpoint.pk}/ping", follow=True)
    address = waiting.redirect_chain[-1][0]

    send_due()

    done = pages.get(address).content.decode()
    polled = pages.get(address, headers={"HX-Request": "true"}).content.decode()
    assert 'hx-trigger="every 2s"' in waiting.content.decode()
    assert re.search(r"due at\s+<time [^>]*>[^<]* UTC</time>\.", waiting.content.decode())
    assert 'hx-trigger="every 2s"' not in done
    assert "&lt;b&gt;no&lt;/b&gt;" in done
    assert "v1,…" in done
    assert "<html" not in polled
    assert alice.user.webhook_secret not in done


def test_what_failed_is_sent_again_one_by_one_and_since_a_time(pages: Client, submit: Submit) -> None:
    for _ in range(2):
        services.cancel(submit(webhook_url="https://example.org/").pk)
    Delivery.objects.update(state="given up")
    first = Delivery.objects.order_by("pk")[0]

    pages.post(f"/webhooks/deliveries/{first.pk}/resend")
    one = list(Delivery.objects.order_by("pk").values_list("state", flat=True))
    pages.post("/webhooks/deliveries/", {"since": f"{timezone.now():%Y-%m-%dT00:00}"})

    assert one == ["pending", "given up"]
    assert set(Delivery.objects.values_list("state", flat=True)) == {"pending"}
    assert pages.post("/webhooks/deliveries/", {"since": "yesterday"}).status_code == 422


def many(submit: Submit, count: int) -> list[Delivery]:
    """Return so many deliveries of alice's, the newest first; every second one was given up."""
    services.cancel(submit(webhook_url="https://example.org/").pk)
    first = Delivery.objects.get()
    events = Event.objects.bulk_create(
        Event(account_id=first.account_id, type="ping", data="{}") for _ in range(count - 1)
    )
    Delivery.objects.bulk_create(
        Delivery(
            account_id=first.account_id,
            event=event,
            url="https://example.org/",
            host=first.host,
            state="given up" if k % 2 else "pending",
            give_up_at=timezone.now(),
        )
        for k, event in enumerate(events)
    )
    return list(Delivery.objects.order_by("-pk"))


def listed(page: str) -> list[int]:
    return [int(pk) for pk in re.findall(r'href="/webhooks/deliveries/([0-9]+)/"', page)]


@pytest.mark.parametrize("state", ["", "given up"])
@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true", "HX-Target": "more"}])
def test_deliveries_are_listed_by_state_each_once_while_new_ones_come(
    pages: Client, alice: Person, submit: Submit, state: str, headers: dict[str, str]
) -> None:
    expected = [one.pk for one in many(submit, 120) if state in ("", one.state)]
    address, seen, sizes = f"/webhooks/deliveries/?state={state}", [], []

    while address:
        page = pages.get(address, headers=headers if seen else {}).content.decode()
        sizes.append(len(listed(page)))
        seen += listed(page)
        newer = listening.ping(Endpoint.objects.first() or add(alice))
        Delivery.objects.filter(pk=newer.pk).update(state="given up")
        more = re.search(r'href="([^"]+)" hx-get="\1" hx-target="#more"', page)
        address = unescape(more[1]) if more else ""
        assert ("<html" in page) == (not headers or len(sizes) == 1)
        assert page.count("Show more") == bool(more)

    assert seen == expected
    assert sizes == ([50, 50, 20] if not state else [50, 9])


def test_no_cursor_and_no_state_breaks_the_list(pages: Client, submit: Submit) -> None:
    everything = [one.pk for one in many(submit, 3)]

    for query in ("after=x", "after=", "after=-1", f"after={'9' * 40}", "state=lost", "page=2"):
        assert listed(pages.get(f"/webhooks/deliveries/?{query}").content.decode()) == everything
    assert "Nothing was sent yet" in pages.get("/webhooks/deliveries/?state=delivered").content.decode()


def test_deliveries_of_a_state_are_found_among_a_great_many(pages: Client, alice: Person, submit: Submit) -> None:
    some = many(submit, 1000)[500]

    plan = plans(lambda: pages.get(f"/webhooks/deliveries/?state=given%20up&after={some.pk}"))

    assert "deliveries_by_state" in plan, plan


def test_a_new_secret_is_made_and_both_are_shown(pages: Client, alice: Person) -> None:
    old = alice.user.webhook_secret

    page = pages.post("/webhooks/secret", follow=True).content.decode()

    alice.user.refresh_from_db()
    assert alice.user.webhook_secret != old
    assert old in page
    assert alice.user.webhook_secret in page


def test_an_address_that_answered_410_is_called_again_when_its_owner_says_so(pages: Client, alice: Person) -> None:
    silenced = SilencedUrl.objects.create(api_key=alice.api_key, url="https://example.org/gone")
    listed = "https://example.org/gone" in pages.get("/webhooks/").content.decode()

    pages.post(f"/webhooks/silenced/{silenced.pk}")

    assert listed
    assert not SilencedUrl.objects.exists()


def test_of_many_addresses_that_answered_410_the_latest_are_shown(pages: Client, alice: Person) -> None:
    gone = [SilencedUrl(api_key=alice.api_key, url=f"https://example.org/gone/{k}/") for k in range(51)]
    SilencedUrl.objects.bulk_create(gone[:50])
    all_of_them = pages.get("/webhooks/").content.decode()
    SilencedUrl.objects.bulk_create(gone[50:])

    latest = pages.get("/webhooks/").content.decode()

    assert re.findall("/gone/([0-9]+)/", all_of_them) == [str(k) for k in range(49, -1, -1)]
    assert re.findall("/gone/([0-9]+)/", latest) == [str(k) for k in range(50, 0, -1)]
    words = "These are the latest 50; there are more."
    assert (words in all_of_them, words in latest) == (False, True)


def test_nobody_sees_or_touches_anothers(strangers: Client, alice: Person, submit: Submit) -> None:
    endpoint = add(alice)
    services.cancel(submit(webhook_url="https://example.org/").pk)
    Delivery.objects.update(state="given up")
    delivery = Delivery.objects.latest("pk")
    silenced = SilencedUrl.objects.create(api_key=alice.api_key, url="https://example.org/gone")
    secret = alice.user.webhook_secret

    replies = [
        strangers.get(f"/webhooks/{endpoint.pk}/"),
        strangers.post(f"/webhooks/{endpoint.pk}/", FORM),
        strangers.post(f"/webhooks/{endpoint.pk}/delete"),
        strangers.post(f"/webhooks/{endpoint.pk}/ping"),
        strangers.get(f"/webhooks/deliveries/{delivery.pk}/"),
        strangers.post(f"/webhooks/silenced/{silenced.pk}"),
    ]
    strangers.post(f"/webhooks/deliveries/{delivery.pk}/resend")
    strangers.post("/webhooks/deliveries/", {"since": "2020-01-01T00:00"})
    lists = [strangers.get(path).content.decode() for path in ("/webhooks/", "/webhooks/deliveries/")]

    assert [reply.status_code for reply in replies] == [404] * 6
    assert set(Delivery.objects.values_list("state", flat=True)) == {"given up"}
    assert not any("example.org/" in page.replace("example.org/hooks", "") or secret in page for page in lists)
    assert Endpoint.objects.get().url == endpoint.url


@pytest.mark.parametrize("path", ["", "1/", "deliveries/", "deliveries/1/"])
def test_visitors_are_sent_to_the_login(db: None, path: str) -> None:
    assert Client().get(f"/webhooks/{path}").status_code == 302


@pytest.mark.django_db(transaction=True)
def test_an_endpoint_that_is_deleted_while_it_is_told_something_harms_nobody(alice: Person) -> None:
    endpoint = add(alice)
    is_found, is_deleted = threading.Event(), threading.Event()

    def tell() -> None:
        with transaction.atomic():
            [found] = outbox.endpoints_of(alice.user.pk)
            is_found.set()
            is_deleted.wait(0.5)  # whoever deletes it waits meanwhile
            outbox.ping(found)

    def delete() -> None:
        is_found.wait()
        listening.delete(endpoint)
        is_deleted.set()

    assert race(2, lambda k: (tell, delete)[k]()) == [None, None]
    assert (Endpoint.objects.count(), Delivery.objects.count(), Event.objects.count()) == (0, 0, 1)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_change", [False, True])
def test_of_two_who_want_the_same_address_at_once_one_is_refused(
    pages: Client, strangers: Client, alice: Person, bob: Person, is_change: bool
) -> None:
    strangers.force_login(alice.user)
    clients = pages, strangers
    paths = [f"/webhooks/{add(alice, f'https://example.org/{k}').pk}/" if is_change else "/webhooks/" for k in range(2)]
    is_held = threading.Event()

    def hold() -> None:
        with transaction.atomic():
            User.objects.select_for_update(no_key=True).get(pk=alice.user.pk)
            list(Endpoint.objects.select_for_update())
            is_held.set()
            time.sleep(0.5)  # both look meanwhile, and find the address free

    def send(k: int) -> Any:
        is_held.wait()
        return clients[k].post(paths[k], FORM)

    *replies, _ = race(3, lambda k: send(k) if k < 2 else hold())

    assert sorted(reply.status_code for reply in replies) == [302, 422]
    assert "There is an endpoint with this address already." in "".join(reply.content.decode() for reply in replies)
    assert Endpoint.objects.filter(url=FORM["url"]).count() == 1


def test_an_endpoint_that_is_deleted_while_it_is_changed_stays_deleted(
    pages: Client, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, is_valid = add(alice, "https://example.org/old"), EndpointForm.is_valid

    def delete_meanwhile(form: EndpointForm) -> bool:
        Endpoint.objects.all().delete()
        return is_valid(form)

    monkeypatch.setattr(EndpointForm, "is_valid", delete_meanwhile)

    reply = pages.post(f"/webhooks/{endpoint.pk}/", FORM)

    assert (reply.status_code, Endpoint.objects.count()) == (404, 0)
