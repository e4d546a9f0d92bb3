"""What staff who are not superusers may see and do: what their rights name, and never more."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.utils import timezone
from django_rq.settings import get_queues_list

from accounts.authentication import authenticate
from accounts.models import QuotaOverride, User
from config import nudges
from generation import services
from generation.models import Delivery, Generation
from generation.params import Inputs, Params
from tests.addresses import addresses
from tests.belongings import furnish
from tests.conftest import Person

Address = Callable[..., str]

CHANGE = ("accounts.view_user", "accounts.add_user", "accounts.change_user", "accounts.delete_user")
PASSWORDS = {"usable_password": "true", "password1": "pale otter", "password2": "pale otter"}


@pytest.fixture
def clerk_of_accounts(clerk: Callable[..., Client]) -> Client:
    """May change accounts, and nothing else."""
    return clerk(*CHANGE)


def row(person: Person) -> dict[str, Any]:
    user = User.objects.get(pk=person.user.pk)
    rights = {"groups": [*user.groups.all()], "permissions": [*user.user_permissions.all()]}
    return {name: value for name, value in vars(user).items() if name != "_state"} | rights


def all_rights() -> dict[str, Any]:
    """Return what a form would have to send to make somebody superuser in every way there is."""
    group = Group.objects.create(name="Everything")
    return {"is_staff": "on", "is_superuser": "on", "groups": [group.pk], "user_permissions": all_permissions()}


def all_permissions() -> list[int]:
    return list(Permission.objects.values_list("pk", flat=True))


def test_a_clerk_changes_a_customer_and_gives_no_rights(
    clerk_of_accounts: Client, bob: Person, address: Address
) -> None:
    before = row(bob)
    form = {"email": "robert@example.org", "time_zone": "Europe/Berlin", "is_active": "on"}

    reply = clerk_of_accounts.post(address(bob), form | all_rights())

    assert reply.status_code == 302
    assert row(bob) == before | {"email": "robert@example.org", "time_zone": "Europe/Berlin"}


def test_a_clerk_adds_a_customer_and_gives_no_rights(clerk_of_accounts: Client) -> None:
    clerk_of_accounts.post("/admin/accounts/user/add/", {"email": "emil@example.org"} | PASSWORDS | all_rights())

    emil = User.objects.get(email="emil@example.org")
    assert (emil.is_staff, emil.is_superuser, emil.get_all_permissions()) == (False, False, set())


def test_a_superuser_gives_rights(staff: Client, bob: Person, address: Address) -> None:
    form = {"email": "bob@example.org", "time_zone": "UTC", "is_active": "on", "is_staff": "on"}

    staff.post(address(bob), form)

    assert User.objects.get(pk=bob.user.pk).is_staff


@pytest.mark.parametrize("rights", [{"is_staff": True}, {"is_superuser": True}])
@pytest.mark.parametrize("what", ["change", "suspend", "reinstate", "revoke_keys", "delete", "password"])
def test_accounts_of_staff_are_changed_by_superusers_alone(
    clerk_of_accounts: Client,
    staff: Client,
    person: Callable[..., Person],
    address: Address,
    rights: dict[str, bool],
    what: str,
) -> None:
    emil = person("emil", **rights)
    before = row(emil)
    page = address(emil).replace("change/", f"{what}/")
    form = {"email": "dora2@example.org", "time_zone": "UTC", "reason": "Revenge", "post": "yes"} | PASSWORDS

    assert clerk_of_accounts.post(page, form).status_code == 403
    assert row(emil) == before
    assert authenticate(emil.key).user == emil.user
    assert staff.post(page, form).status_code == (403 if what == "delete" else 302)


def test_a_clerk_does_not_change_themselves(clerk_of_accounts: Client, address: Address) -> None:
    dora = User.objects.get(email="dora@example.org")

    reply = clerk_of_accounts.post(f"/admin/accounts/user/{dora.pk}/change/", {"email": "x@example.org"} | all_rights())

    assert reply.status_code == 403
    assert not User.objects.get(pk=dora.pk).is_superuser


def test_a_clerk_looks_at_staff_and_sees_no_buttons(
    clerk_of_accounts: Client, charlie: Person, bob: Person, address: Address
) -> None:
    of_staff, of_customer = (clerk_of_accounts.get(address(person)).content.decode() for person in (charlie, bob))

    assert buttons(of_staff) == set()
    assert buttons(of_customer) == {"Suspend", "Revoke all keys"}
    assert charlie.user.password not in of_staff


def buttons(page: str) -> set[str]:
    return set(re.findall(r'class="office-button[^>]*>([^<]+)<', page))


SEE = "generation.view_generation"


@pytest.fixture
def generation(alice: Person) -> Generation:
    return services.submit(alice.user, Params(mode="text2img", prompt="a cat", seed=1), Inputs(), api_key=alice.api_key)


@pytest.mark.parametrize(
    ("rights", "status"), [([SEE, "billing.add_entry"], "queued"), (["generation.change_generation"], "canceled")]
)
def test_generations_are_canceled_with_the_right_to_change_them(
    clerk: Callable[..., Client], generation: Generation, rights: list[str], status: str
) -> None:
    act(clerk(*rights), generation, "cancel")

    assert Generation.objects.get().status == status


@pytest.mark.parametrize(
    ("rights", "back"), [([SEE, "generation.change_generation"], False), ([SEE, "billing.add_entry"], True)]
)
def test_credits_are_given_back_with_the_right_to_add_entries(
    clerk: Callable[..., Client], generation: Generation, alice: Person, rights: list[str], back: bool
) -> None:
    claimed = services.claim(generation.pk)
    assert claimed
    services.succeed(claimed, [False], 1.0, 1.0, "model", "", "")
    paid = alice.balance

    act(clerk(*rights), generation, "give_credits_back")

    assert alice.balance == (1000 if back else paid)


@pytest.mark.parametrize(
    ("rights", "state"), [(["generation.view_delivery"], "given up"), (["generation.change_delivery"], "pending")]
)
def test_webhooks_are_sent_again_with_the_right_to_change_them(
    clerk: Callable[..., Client], alice: Person, rights: list[str], state: str
) -> None:
    delivery = furnish(alice).delivery
    Delivery.objects.update(state=Delivery.State.GIVEN_UP)

    act(clerk(*rights), delivery, "resend")

    assert Delivery.objects.get(pk=delivery.pk).state == state


def act(client: Client, thing: Generation | Delivery, action: str) -> None:
    """Tick one row of its list and send the action."""
    client.post(f"/admin/generation/{thing._meta.model_name}/", {"action": action, "_selected_action": [thing.pk]})


OPEN = {  # to all staff: what is about nobody, and themselves
    *("/admin/", "/admin/jsi18n/", "/admin/search/", "/admin/password_change/", "/admin/password_change/done/")
}


def test_staff_without_rights_see_nothing_but_the_first_page(clerk: Callable[..., Client], alice: Person) -> None:
    client, owned = clerk(), furnish(alice)
    inside = [address.path(owned) for address in addresses() if address.route.startswith("admin/")]
    inside.remove("/admin/r/1/1/")  # leads to the page of a row that has one; ours have none

    answers = {path: client.get(path).status_code for path in inside}

    assert {path for path, status in answers.items() if status == 200} == OPEN


@pytest.mark.parametrize(
    ("rights", "left"), [(["generation.view_generation", "generation.change_generation"], 1), (["django_rq.admin"], 0)]
)
def test_queues_are_emptied_with_the_right_to_them(clerk: Callable[..., Client], rights: list[str], left: int) -> None:
    nudges.enqueue("generation.jobs.deliver", 1)
    names = [queue["name"] for queue in get_queues_list()]
    client = clerk(*rights)

    client.post(f"/admin/rq/queues/{names.index('io')}/empty/")

    assert nudges.named("io").count == left
    assert client.get("/admin/rq/").status_code == (403 if left else 200)
    assert ('href="/admin/rq/"' in client.get("/admin/").content.decode()) == (not left)


PARTS = {  # the right to see it → a word that only this part of a person's page has
    "billing.view_wallet": "<dt>Credits</dt>",
    "billing.view_subscription": "no subscription",
    "billing.view_topup": "never turned on",
    "accounts.view_quotaoverride": "Unpaid invoice",
    "accounts.view_apikey": 'aria-label="API keys"',
    "generation.view_generation": "<td>a cat</td>",
    "billing.view_entry": "test:alice",
    "billing.view_purchase": "Nothing was paid yet.",
}


@pytest.mark.parametrize("right", [None, *PARTS])
def test_each_part_of_a_person_s_page_needs_its_own_right(
    clerk: Callable[..., Client], alice: Person, generation: Generation, address: Address, right: str | None
) -> None:
    limits = {"ends_at": timezone.now() + timedelta(days=1), "reason": "Unpaid invoice", "most_steps": 5}
    QuotaOverride.objects.create(user=alice.user, **limits)
    client = clerk("accounts.view_user", *([right] if right else []))

    page = client.get(address(alice)).content.decode()

    assert {name for name, words in PARTS.items() if words in page} == ({right} if right else set())


def test_the_list_of_accounts_shows_credits_to_those_who_may_see_wallets(
    clerk: Callable[..., Client], alice: Person
) -> None:
    client = clerk("accounts.view_user")
    before = client.get("/admin/accounts/user/").content.decode()
    give("billing.view_wallet")
    after = client.get("/admin/accounts/user/").content.decode()

    assert ["alice@example.org" in page for page in (before, after)] == [True, True]
    assert ["1,000" in page for page in (before, after)] == [False, True]


def test_the_form_that_moves_credits_names_nobody_to_those_who_may_not_see_accounts(
    clerk: Callable[..., Client], alice: Person, address: Address
) -> None:
    client = clerk("billing.add_entry")
    assert client.get(address(alice, "credits")).status_code == 403

    give("accounts.view_user")
    assert client.get(address(alice, "credits")).status_code == 200


def give(right: str) -> None:
    """Give dora another right."""
    app, codename = right.split(".")
    permission = Permission.objects.get(content_type__app_label=app, codename=codename)
    User.objects.get(email="dora@example.org").user_permissions.add(permission)


def test_roles_are_made_and_changed_by_superusers_alone(clerk: Callable[..., Client], staff: Client) -> None:
    role = Group.objects.create(name="Clerks")
    client = clerk("auth.view_group", "auth.add_group", "auth.change_group", "auth.delete_group")
    form = {"name": "Everything", "permissions": all_permissions()}
    own = f"/admin/auth/group/{role.pk}"

    assert client.get(f"{own}/change/").status_code == 200
    refused = [client.post(f"{own}/change/", form), client.post("/admin/auth/group/add/", form)]
    refused.append(client.post(f"{own}/delete/", {"post": "yes"}))

    assert [reply.status_code for reply in refused] == [403] * 3
    assert [(one.name, one.permissions.count()) for one in Group.objects.all()] == [("Clerks", 0)]
    assert staff.post(f"{own}/change/", form).status_code == 302


def test_a_key_stays_its_account_s(clerk: Callable[..., Client], alice: Person, bob: Person) -> None:
    client = clerk("accounts.change_apikey")
    form = {"user": alice.user.pk, "name": "shop", "scope": "read"}

    client.post(f"/admin/accounts/apikey/{bob.api_key.pk}/change/", form)

    key = authenticate(bob.key)
    assert (key.user, key.name, key.scope) == (bob.user, "shop", "read")


def test_the_form_of_a_new_key_lists_no_accounts(clerk: Callable[..., Client], alice: Person) -> None:
    client = clerk("accounts.add_apikey")

    page = client.get("/admin/accounts/apikey/add/").content.decode()
    search = {"app_label": "accounts", "model_name": "apikey", "field_name": "user", "term": "alice"}

    assert "alice@example.org" not in page
    assert client.get("/admin/autocomplete/", search).status_code == 403
    give("accounts.view_user")
    assert client.get("/admin/autocomplete/", search).json()["results"] == [
        {"id": str(alice.user.pk), "text": "alice@example.org"}
    ]


@pytest.mark.parametrize(
    ("right", "look_up"),
    [
        ("usersessions.view_usersession", "usersessions/usersession/?session_key__startswith="),
        ("accounts.view_user", "accounts/user/?webhook_secret__startswith="),
        ("accounts.view_user", "accounts/user/?previous_webhook_secret__startswith="),
        ("accounts.view_user", "accounts/user/?password__startswith="),
    ],
)
def test_no_list_tells_a_secret_by_who_is_left_when_one_guesses(
    clerk: Callable[..., Client], right: str, look_up: str
) -> None:
    assert clerk(right).get(f"/admin/{look_up}a").status_code == 400
