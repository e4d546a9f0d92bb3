"""What staff change is in the audit log with before and after, and never a secret."""

from collections.abc import Callable
from datetime import timedelta

from auditlog.models import LogEntry
from django.test import Client
from django.utils import timezone

from accounts import audit, closing
from accounts.models import ApiKey, Plan, User
from billing.models import Pack
from generation import services
from generation.params import Inputs, Params
from tests.conftest import Person
from tests.sessions import logged_in


def changes(thing: object) -> dict[str, list[str]]:
    entry = LogEntry.objects.get_for_object(thing).filter(action=LogEntry.Action.UPDATE).first()
    return entry.changes_dict if entry else {}


def test_plans_and_packs_are_followed(staff: Client, charlie: Person) -> None:
    plan = Plan.objects.create(name="Studio", images_per_month=100)
    pack = Pack.objects.create(name="Small", credits=100, price_cents=500, currency="usd")

    staff.post(
        f"/admin/accounts/plan/{plan.pk}/change/", {"name": "Studio", "images_per_month": 200, "queue_weight": 1}
    )
    staff.post(
        f"/admin/billing/pack/{pack.pk}/change/",
        {"name": "Small", "credits": 100, "price_cents": 600, "currency": "usd", "is_active": "on"},
    )

    assert changes(plan) == {"images_per_month": ["100", "200"]}
    assert changes(pack) == {"price_cents": ["500", "600"]}
    assert {entry.actor for entry in LogEntry.objects.get_for_object(plan).filter(action=1)} == {charlie.user}
    assert LogEntry.objects.get_for_object(plan).filter(action=1)[0].remote_addr == "127.0.0.1"


def test_no_secret_is_in_the_log(staff: Client, alice: Person) -> None:
    alice.user.set_password("another horse")
    alice.user.save()
    ApiKey.create(alice.user, "second")
    staff.post("/admin/accounts/apikey/add/", {"user": alice.user.pk, "name": "third", "scope": "read"})

    told = "\n".join(str(entry.changes_dict) for entry in LogEntry.objects.all())
    assert ApiKey.objects.filter(name="third").exists()
    secrets = [alice.user.password, alice.user.webhook_secret, alice.key]
    secrets += ApiKey.objects.values_list("digest", flat=True)
    assert [secret for secret in secrets if secret in told] == []


def test_what_is_done_to_a_generation_is_written_down(staff: Client, alice: Person, charlie: Person) -> None:
    generation = services.submit(alice.user, Params(mode="text2img", prompt="a cat", seed=1), Inputs())

    staff.post("/admin/generation/generation/", {"action": "cancel", "_selected_action": [generation.pk]})

    assert changes(generation) == {"status": ["queued", "canceled"]}
    assert alice.balance == 1000


def test_credits_of_a_generation_are_given_back_once(staff: Client, alice: Person) -> None:
    generation = services.submit(alice.user, Params(mode="text2img", prompt="a cat", seed=1), Inputs())
    claimed = services.claim(generation.pk)
    assert claimed
    services.succeed(claimed, [False], 1.0, 1.0, "model", "", "")
    charged = 1000 - alice.balance
    assert charged > 0

    for _ in range(2):
        staff.post(
            "/admin/generation/generation/", {"action": "give_credits_back", "_selected_action": [generation.pk]}
        )

    assert alice.balance == 1000
    assert changes(generation) == {"credits_given_back": ["0", str(charged)]}


def test_staff_read_the_log_and_change_nothing(staff: Client, alice: Person) -> None:
    audit.note(alice.user, colour=("red", "blue"))
    entry = LogEntry.objects.first()
    assert entry

    assert staff.get("/admin/auditlog/logentry/?q=colour").status_code == 200
    assert "blue" in staff.get(f"/admin/auditlog/logentry/{entry.pk}/change/").content.decode()
    assert staff.post(f"/admin/auditlog/logentry/{entry.pk}/delete/", {"post": "yes"}).status_code == 403


def test_a_change_without_a_request_has_no_person(alice: Person) -> None:
    alice.user.suspended_at, alice.user.suspension_reason = timezone.now() - timedelta(hours=1), "By a command"
    alice.user.save()

    entry = LogEntry.objects.get_for_object(User.objects.get(pk=alice.user.pk)).filter(action=1).first()
    assert entry
    assert (entry.actor, entry.remote_addr) == (None, None)


def test_a_closed_account_leaves_no_name_in_the_log(staff: Client, alice: Person, address: Callable[..., str]) -> None:
    staff.post(address(alice, "suspend"), {"reason": "She asked for it"})
    ApiKey.create(alice.user, "second")

    closing.close(alice.user)
    closing.erase(alice.user.pk)

    entries = LogEntry.objects.filter(object_id__in=[alice.user.pk, *alice.user.api_keys.values_list("pk", flat=True)])
    assert entries.count() >= 3
    told = [(entry.object_repr, entry.changes, entry.changes_text) for entry in entries]
    assert "alice" not in str(told)
    assert "She asked" not in str(told)


def test_a_closed_account_leaves_no_address_where_it_acted_and_others_keep_theirs(
    staff: Client, charlie: Person, alice: Person
) -> None:
    logged_in(alice.user).post("/keys/new/", {"name": "hers", "scope": "read"}, REMOTE_ADDR="192.0.2.7")
    staff.post("/admin/accounts/apikey/add/", {"user": alice.user.pk, "name": "his", "scope": "read"})
    hers, his = (LogEntry.objects.get_for_object(ApiKey.objects.get(name=name)) for name in ("hers", "his"))
    signed = list(hers.values_list("actor_email", "remote_addr")), list(his.values_list("actor_email", "remote_addr"))

    closing.close(alice.user)
    closing.erase(alice.user.pk)

    kept = [("charlie@example.org", "127.0.0.1")]
    assert signed == ([("alice@example.org", "192.0.2.7")], kept)
    assert list(hers.values_list("actor", "actor_email", "remote_addr")) == [(alice.user.pk, None, None)]
    assert list(his.values_list("actor_email", "remote_addr")) == kept
