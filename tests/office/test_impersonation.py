"""Seeing the site as a customer does."""

from collections.abc import Callable
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.test import Client

from accounts import closing
from accounts.models import User
from tests.conftest import Person

BANNER = "You see the site as <strong>alice@example.org</strong>"


def become(client: Client, person: Person) -> Any:
    return client.post("/hijack/acquire/", {"user_pk": person.user.pk, "next": "/"})


def test_staff_become_a_customer_and_themselves_again_under_a_banner(
    staff: Client, alice: Person, charlie: Person
) -> None:
    assert become(staff, alice).status_code == 302
    page = staff.get("/billing/")
    assert page.context["user"] == alice.user
    assert BANNER in page.content.decode()
    assert staff.get("/admin/").status_code == 302

    back = staff.post("/hijack/release/", {"next": f"/admin/accounts/user/{alice.user.pk}/change/"}, follow=True)

    assert back.status_code == 200
    assert back.context["user"] == charlie.user
    assert BANNER not in staff.get("/billing/").content.decode()


def test_it_is_in_the_audit_log_with_who_it_was(staff: Client, alice: Person, charlie: Person) -> None:
    become(staff, alice)
    staff.post("/hijack/release/")

    entries = LogEntry.objects.get_for_object(alice.user).filter(action=LogEntry.Action.UPDATE).order_by("id")
    assert [entry.changes_dict for entry in entries] == [
        {"impersonated_by": ["–", "charlie@example.org"]},
        {"impersonated_by": ["charlie@example.org", "–"]},
    ]
    assert {entry.actor for entry in entries} == {charlie.user}


def test_nobody_becomes_staff_and_customers_become_nobody(
    staff: Client, person: Callable[..., Person], alice: Person, bob: Person
) -> None:
    dora = person("dora", is_staff=True)
    customer, clerk = Client(), Client()
    customer.force_login(bob.user)
    clerk.force_login(dora.user)

    assert become(staff, dora).status_code == 403
    assert become(customer, alice).status_code == 403
    assert become(clerk, alice).status_code == 403
    assert become(Client(), alice).status_code == 302  # to the login
    assert customer.get("/billing/").context["user"] == bob.user


def test_accounts_that_cannot_log_in_are_not_acted_as(
    staff: Client, alice: Person, bob: Person, charlie: Person
) -> None:
    User.objects.filter(pk=alice.user.pk).update(is_active=False)
    closing.close(bob.user)

    assert [become(staff, person).status_code for person in (alice, bob)] == [403, 403]
    assert staff.get("/billing/").context["user"] == charlie.user


def test_a_superuser_who_is_staff_no_more_acts_as_nobody(alice: Person, person: Callable[..., Person]) -> None:
    emil = Client()
    emil.force_login(person("emil", is_superuser=True).user)

    assert become(emil, alice).status_code == 403


@pytest.mark.parametrize("pk", ["abc", "", "1\0", "9" * 30, "-1"])
def test_what_names_nobody_is_not_found(staff: Client, bob: Person, pk: str) -> None:
    customer = Client(raise_request_exception=False)
    customer.force_login(bob.user)

    replies = [client.post("/hijack/acquire/", {"user_pk": pk}) for client in (customer, staff)]

    assert [reply.status_code for reply in replies] == [404, 404]
