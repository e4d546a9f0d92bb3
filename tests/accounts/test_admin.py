"""The admin pages of all apps: open to charlie, closed to bob."""

import re

import pytest
from django.apps import apps
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import keys
from accounts.admin import KeyForm as KeyAdminForm
from accounts.admin import save_changed
from accounts.authentication import InvalidKey, authenticate
from accounts.models import ApiKey, Plan, User
from billing.models import Entry, Wallet
from generation import services
from generation.models import Delivery, Generation, Status
from generation.params import Inputs, Params
from tests.conftest import Person

MODELS = [model for name in ("accounts", "billing", "generation") for model in apps.get_app_config(name).get_models()]
IN_ADMIN = [model for model in MODELS if model in admin.site._registry]


@pytest.fixture
def staff(charlie: Person) -> Client:
    client = Client()
    client.force_login(charlie.user)
    return client


@pytest.fixture
def generation(alice: Person) -> Generation:
    params = Params(mode="text2img", prompt="a cat", seed=1)
    return services.submit(alice.user, params, Inputs(), "mine", "https://example.org/hook", alice.api_key)


def page(model: type, name: str, *args: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{name}", args=args)


@pytest.mark.parametrize("model", IN_ADMIN)
def test_staff_can_open_every_list_and_every_row(staff: Client, generation: Generation, model: type) -> None:
    services.cancel(generation.pk)
    row = model.objects.first()

    pages = [page(model, "changelist"), page(model, "changelist") + "?q=1"]
    pages += [page(model, "change", row.pk), page(model, "history", row.pk)] if row else []

    assert [staff.get(address).status_code for address in pages] == [200] * len(pages)


def test_the_admin_has_a_page_for_everything_but_counters() -> None:
    without = {model.__name__ for model in MODELS} - {model.__name__ for model in IN_ADMIN}

    assert without == {
        "Usage",
        "KeySpending",
        "IdempotencyKey",
        "SiteDay",
        "SummedDay",
        "UsageDay",
        "Export",
        "Attempt",
    }  # the last: in its delivery


@pytest.mark.parametrize("address", ["/admin/", "/admin/rq/", *(page(model, "changelist") for model in IN_ADMIN)])
def test_everybody_else_is_sent_to_the_login(bob: Person, address: str) -> None:
    client = Client()
    client.force_login(bob.user)

    reply = client.get(address)

    assert reply.status_code == 302
    assert reply["Location"].startswith("/admin/login/")


def test_money_and_generations_are_shown_and_never_edited(staff: Client, generation: Generation) -> None:
    services.cancel(generation.pk)

    for model in (Wallet, Entry, Generation, Delivery):
        row = model.objects.first()
        assert staff.post(page(model, "change", row.pk), {"credits": 9}).status_code == 403
        assert staff.post(page(model, "delete", row.pk), {"post": "yes"}).status_code == 403
        assert staff.get(page(model, "add")).status_code == 403


def test_a_key_made_by_staff_is_shown_once_and_works(staff: Client, bob: Person) -> None:
    body = {
        "user": bob.user.pk,
        "name": "by hand",
        "scope": "generate",
        "expires_at_0": "2999-01-01",
        "expires_at_1": "00:00",
    }

    shown = staff.post(page(ApiKey, "add"), body, follow=True).content.decode()
    later = staff.get(page(ApiKey, "changelist")).content.decode()

    [secret] = re.findall(r"sk_[\w-]{43}", shown)
    key = authenticate(secret)
    assert (key.user, key.name, key.expires_at.year) == (bob.user, "by hand", 2999)
    assert "sk_" not in later
    assert ApiKey.objects.filter(user=bob.user, name="by hand").count() == 1


def test_staff_revoke_keys_and_cannot_delete_them(staff: Client, alice: Person) -> None:
    assert staff.post(page(ApiKey, "delete", alice.api_key.pk), {"post": "yes"}).status_code == 403
    assert authenticate(alice.key)

    staff.post(page(ApiKey, "changelist"), {"action": "revoke", "_selected_action": [alice.api_key.pk]})

    with pytest.raises(InvalidKey):
        authenticate(alice.key)


def test_staff_cancel_what_runs_and_the_credits_go_back(staff: Client, generation: Generation, alice: Person) -> None:
    staff.post(page(Generation, "changelist"), {"action": "cancel", "_selected_action": [generation.pk]})

    assert Generation.objects.get().status == Status.CANCELED
    assert alice.balance == 1000


def new_account(email: str) -> dict[str, object]:
    return {"email": email, "usable_password": "true", "password1": "pale otter", "password2": "pale otter"}


def test_staff_create_an_account_that_can_log_in(staff: Client) -> None:
    staff.post(page(User, "add"), new_account("Dora@Example.org"))

    user = User.objects.get(email="dora@example.org")
    assert Client().login(username="DORA@example.org", password="pale otter")
    assert not user.is_staff


def test_an_address_that_staff_change_is_kept_in_lower_case(staff: Client, bob: Person) -> None:
    form = staff.get(page(User, "change", bob.user.pk)).context["adminform"].form
    body = {name: value for name, value in form.initial.items() if value not in (None, False, [])}

    staff.post(page(User, "change", bob.user.pk), body | {"email": "Robert@Example.org"})

    assert User.objects.get(pk=bob.user.pk).email == "robert@example.org"
    assert Client().login(username="robert@example.org", password="correct horse")


def test_an_address_cannot_be_taken_twice_whatever_its_case(staff: Client, alice: Person) -> None:
    reply = staff.post(page(User, "add"), new_account("ALICE@example.org"))

    assert reply.context["adminform"].form.errors["email"]
    assert User.objects.filter(email__iexact="alice@example.org").count() == 1


def test_saving_an_account_leaves_what_changed_since_staff_opened_its_page(staff: Client, bob: Person) -> None:
    free, studio = (Plan.objects.create(name=name) for name in ("Free", "Studio"))
    User.objects.filter(pk=bob.user.pk).update(plan=free)
    address = page(User, "change", bob.user.pk)
    shown = staff.get(address).content.decode()
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)"(?: value="([^"]*)")?', shown))
    User.objects.filter(pk=bob.user.pk).update(plan=studio, suspended_at=timezone.now(), suspension_reason="Why not.")

    typed = {"email": "bob@example.org", "plan": free.pk, "time_zone": "Europe/Berlin", "is_active": "on"}
    reply = staff.post(address, hidden | typed)

    now = User.objects.get(pk=bob.user.pk)
    assert reply.status_code == 302
    assert (now.plan, now.time_zone, now.suspension_reason) == (studio, "Europe/Berlin", "Why not.")
    assert now.password not in shown


def test_saving_a_key_that_is_revoked_meanwhile_does_not_revive_it(alice: Person) -> None:
    of_key = KeyAdminForm({"user": alice.user.pk, "name": "shop", "scope": "read"}, instance=alice.api_key)
    keys.revoke(ApiKey.objects.get(pk=alice.api_key.pk))

    assert of_key.is_valid()
    save_changed(of_key.instance, of_key)

    now = ApiKey.objects.get(pk=alice.api_key.pk)
    assert (now.name, now.scope, now.revoked_at is None) == ("shop", "read", False)
