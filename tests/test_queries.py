"""How many queries each endpoint and page takes: exact numbers, the same for one row and for many.

Savepoints count as queries here. Five of an estimate's six are shared by all estimates of a second; in tests none is.
A key that a process knows takes one query; it is read by another when it or its account was changed, as when its use is
noted, once a minute.
"""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import ApiKey, Plan, QuotaOverride, User
from generation.models import Event, Generation, Status
from generation.webhooks.models import Delivery, Endpoint, SilencedUrl
from tests.belongings import Belongings, furnish
from tests.conftest import Api, Person
from tests.sessions import logged_in
from tests.v3 import bodies

MANY = 60  # more than a page of the history holds

API = {
    "text2img": 15,
    "img2img": 15,
    "inpaint": 15,
    "fetch of a success": 3,
    "fetch of a failure": 2,
    "fetch of one that waits": 8,
    "fetch of nothing": 2,
    "reproduce": 17,
    "cancel": 18,
    "account": 5,
    "events": 2,
    "price": 2,
    "system_load": 5,
}
PAGES = {
    "/playground/": 6,
    "/history/": 7,
    "/history/?view=table": 7,
    "/history/{generation}/": 6,
    "/usage/": 12,
    "/usage.csv": 7,
    "/keys/": 7,
    "/webhooks/": 7,
    "/webhooks/deliveries/": 5,
    "/webhooks/deliveries/{delivery}/": 6,
    "/billing/": 12,
    "/billing/history/": 9,
}


@pytest.fixture
def owned(alice: Person) -> Belongings:
    return furnish(alice)


def multiply(owned: Belongings, bob: Person) -> None:
    """Give alice and bob many of what alice owns one of."""
    alice = owned.person
    keys = [ApiKey.create(alice.user, f"key {k}")[0] for k in range(9)]
    for k in range(5):
        soon = timezone.now() + timedelta(days=1)
        QuotaOverride.objects.create(user=alice.user, reason="test", images_per_day=1000 + k, ends_at=soon)
    Endpoint.objects.bulk_create(Endpoint(account=alice.user, url=f"https://example.org/{k}") for k in range(19))
    copy(alice.user, [owned.generation, owned.failed, owned.queued], keys)
    copy(bob.user, [owned.generation, owned.queued], [bob.api_key])
    events = Event.objects.bulk_create(
        Event(account=alice.user, generation=owned.generation, type=Event.Type.SUCCESS, data="{}") for _ in range(MANY)
    )
    for event in events:
        Delivery.objects.create(
            account=alice.user,
            event=event,
            generation=owned.generation,
            endpoint=owned.endpoint,
            url=owned.endpoint.url,
            host=owned.delivery.host,
            give_up_at=timezone.now(),
        )
    SilencedUrl.objects.bulk_create(SilencedUrl(api_key=keys[0], url=f"https://example.org/{k}") for k in range(MANY))


def copy(account: User, generations: list[Generation], keys: list[ApiKey]) -> None:
    """Write many that are like these, by all keys and many models; the ledger knows nothing of them."""
    own = {"id", "mode", "file_prefix", "account", "api_key", "model"}
    names = [field.name for field in Generation._meta.concrete_fields if field.name not in own]
    for generation in generations:
        values = {name: getattr(generation, name) for name in names}
        models = [f"model {k % 20}" if generation.model else "" for k in range(MANY)]
        Generation.objects.bulk_create(
            Generation(account=account, api_key=keys[k % len(keys)], model=model, **values)
            for k, model in enumerate(models)
        )


def queries(call: Any) -> int:
    with CaptureQueriesContext(connection) as captured:
        reply = call()
    assert reply.status_code == 200, reply.content
    return len(captured)


def counts_of_the_api(api: Api, owned: Belongings) -> dict[str, int]:
    alice = owned.person
    key = {"key": alice.key}
    for _ in range(2):  # one notes that the key is used, one reads it then
        api.post("text2img", bodies.text2img(alice.key))
    waiting = Generation.objects.filter(account=alice.user, status=Status.QUEUED).latest("pk")
    calls = {
        "text2img": lambda: api.post("text2img", bodies.text2img(alice.key)),
        "img2img": lambda: api.post("img2img", bodies.img2img(alice.key)),
        "inpaint": lambda: api.post("inpaint", bodies.inpaint(alice.key)),
        "fetch of a success": lambda: api.post(f"fetch/{owned.generation.pk}", key),
        "fetch of a failure": lambda: api.post(f"fetch/{owned.failed.pk}", key),
        "fetch of one that waits": lambda: api.post(f"fetch/{waiting.pk}", key),
        "fetch of nothing": lambda: api.post("fetch/999999999", key),
        "reproduce": lambda: api.post(f"reproduce/{owned.generation.pk}", key),
        "cancel": lambda: api.post(f"cancel/{waiting.pk}", key),
        "account": lambda: api.post("account", key),
        "events": lambda: api.post("events", key),
        "price": lambda: api.post("price", key),
        "system_load": lambda: api.post("system_load", key),
    }
    return {name: queries(call) for name, call in calls.items()}


def counts_of_pages(site: Client, owned: Belongings) -> dict[str, int]:
    pks = {"generation": owned.generation.pk, "delivery": owned.delivery.pk}
    return {page: queries(lambda page=page: site.get(page.format(**pks))) for page in PAGES}


def test_the_api_takes_the_same_few_queries_whatever_there_is(api: Api, owned: Belongings, bob: Person) -> None:
    one = counts_of_the_api(api, owned)
    multiply(owned, bob)

    assert one == API
    # One more for the limits of an account that has overrides, however many.
    assert counts_of_the_api(api, owned) == {name: count + 1 for name, count in API.items()}


def test_pages_take_the_same_few_queries_whatever_there_is(owned: Belongings, bob: Person) -> None:
    site = logged_in(owned.person.user)
    counts_of_pages(site, owned)
    one = counts_of_pages(site, owned)
    multiply(owned, bob)

    assert one == PAGES
    assert counts_of_pages(site, owned) == PAGES


def test_the_rate_is_looked_up_only_where_it_is_limited(api: Api, owned: Belongings) -> None:
    alice = owned.person
    alice.user.plan = Plan.objects.create(name="limited", requests_per_minute=1000)
    alice.user.save()
    for _ in range(2):
        api.post("price", {"key": alice.key})

    with CaptureQueriesContext(connection) as captured:
        fetched = api.post(f"fetch/{owned.generation.pk}", {"key": alice.key})

    assert fetched["RateLimit-Limit"] == "1000"
    assert len(captured) == API["fetch of a success"] + 1
