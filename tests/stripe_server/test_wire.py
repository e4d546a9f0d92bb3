"""What goes for every call: keys, errors, lists, versions, idempotency and faults."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import stripe

from tests.stripe_server import PretendStripe, pretend_stripe
from tests.stripe_server.params import Params


def test_nested_parameters_are_read() -> None:
    body = "a=1&b[c]=2&b[d][]=3&b[d][]=4&e[0][f]=5&e[1][f]=6&g="

    assert Params.parse(body) == {
        "a": "1",
        "b": {"c": "2", "d": ["3", "4"]},
        "e": [{"f": "5"}, {"f": "6"}],
        "g": "",
    }


def test_only_its_own_key_is_let_in() -> None:
    with pretend_stripe(secret_key="sk_test_mine") as server:
        client = stripe.StripeClient("sk_test_other", base_addresses={"api": server.url})
        with pytest.raises(stripe.AuthenticationError, match=r"Invalid API Key provided: sk_test_\*+ther"):
            client.v1.customers.create({})


def test_what_is_not_there_is_404(client: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="No such payment intent: 'pi_none'") as refused:
        client.payment_intents.retrieve("pi_none")

    assert (refused.value.http_status, refused.value.code) == (404, "resource_missing")


def test_the_same_key_gets_the_same_answer_and_other_parameters_are_refused(server: PretendStripe, client: Any) -> None:
    first = client.customers.create({"name": "A"}, {"idempotency_key": "one"})
    again = client.customers.create({"name": "A"}, {"idempotency_key": "one"})
    with pytest.raises(stripe.IdempotencyError, match="same parameters") as refused:
        client.customers.create({"name": "B"}, {"idempotency_key": "one"})

    assert (again.id, refused.value.http_status) == (first.id, 400)
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert len(server.world.all("customer")) == len(server.called("POST /v1/customers")) - 1 == 1


def test_a_declined_payment_is_remembered_under_its_key_too(server: PretendStripe, client: Any) -> None:
    body = {"amount": 900, "currency": "usd", "payment_method": "pm_card_visa_chargeDeclined", "confirm": True}

    for _ in range(2):
        with pytest.raises(stripe.CardError):
            client.payment_intents.create(body, {"idempotency_key": "one"})

    assert len(server.world.all("charge")) == 1


def test_what_was_refused_for_its_form_may_be_corrected_under_the_same_key(client: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        client.payment_intents.create({"amount": 1, "currency": "usd"}, {"idempotency_key": "one"})

    assert client.payment_intents.create({"amount": 100, "currency": "usd"}, {"idempotency_key": "one"}).amount == 100


def test_the_same_key_at_the_same_time_is_carried_out_once(server: PretendStripe) -> None:
    client = stripe.StripeClient("sk_test", base_addresses={"api": server.url}, max_network_retries=5).v1
    body = {"amount": 900, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}

    with ThreadPoolExecutor(20) as pool:
        intents = pool.map(lambda _: client.payment_intents.create(body, {"idempotency_key": "one"}).id, range(20))

    assert len(set(intents)) == 1
    assert server.charged_cents == [900]


def test_a_lost_answer_was_carried_out_and_the_sdk_gets_it_by_asking_again(
    server: PretendStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stripe._http_client.HTTPClient.INITIAL_DELAY", 0)
    client = stripe.StripeClient("sk_test", base_addresses={"api": server.url}, max_network_retries=1).v1

    server.faults.lose("POST /v1/customers", 2)
    with pytest.raises(stripe.APIConnectionError):
        client.customers.create({}, {"idempotency_key": "one"})
    answered = client.customers.create({}, {"idempotency_key": "one"})

    assert [customer["id"] for customer in server.world.all("customer")] == [answered.id]


def test_a_breakdown_does_nothing(server: PretendStripe, client: Any) -> None:
    server.faults.break_down("POST /v1/customers")

    with pytest.raises(stripe.APIError):
        client.customers.create({})

    assert server.world.all("customer") == []


def test_lists_come_newest_first_a_page_at_a_time(client: Any) -> None:
    ids = [client.customers.create({"email": f"{k}@example.org"}).id for k in range(5)]

    first = client.customers.list({"limit": 2})
    assert ([row.id for row in first.data], first.has_more) == ([ids[4], ids[3]], True)
    assert [row.id for row in first.auto_paging_iter()] == ids[::-1]
    assert [row.id for row in client.customers.list({"email": "1@example.org"}).data] == [ids[1]]


def test_lists_are_cut_by_time(server: PretendStripe, client: Any) -> None:
    old = client.customers.create({})
    server.world.wait(100)
    new = client.customers.create({})

    assert [row.id for row in client.customers.list({"created": {"gte": new.created}}).data] == [new.id]
    assert [row.id for row in client.customers.list({"created": {"lt": new.created}}).data] == [old.id]


def test_the_log_tells_what_was_asked(server: PretendStripe, client: Any) -> None:
    client.customers.create({"name": "A"}, {"idempotency_key": "one"})

    [call] = server.calls
    assert (call.method, call.path, call.params, call.idempotency_key, call.status) == (
        "POST",
        "/v1/customers",
        {"name": "A"},
        "one",
        200,
    )
    assert call.version == stripe.api_version


def test_what_it_knows_can_outlive_the_process(tmp_path: Any) -> None:
    keep = tmp_path / "stripe.json"
    with pretend_stripe(keep=keep) as server:
        client = stripe.StripeClient("sk_test", base_addresses={"api": server.url}).v1
        customer = client.customers.create({"name": "A"}).id

    with pretend_stripe(keep=keep) as server:
        client = stripe.StripeClient("sk_test", base_addresses={"api": server.url}).v1
        assert client.customers.retrieve(customer).name == "A"
        assert [event["type"] for event in server.webhooks.pending] == ["customer.created"]
    assert keep.stat().st_mode & 0o777 == 0o600
