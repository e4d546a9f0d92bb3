"""What staff do is behind a second factor, and images that no browser takes for a page."""

from typing import Any

from allauth.mfa.models import Authenticator
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.test import Client

from tests.conftest import Person
from tests.sessions import logged_in

PRETENCE = b"\x89PNG\r\n\x1a\n<script>alert(1)</script>"


def test_staff_without_a_second_factor_are_sent_to_set_one_up(charlie: Person, settings: Any) -> None:
    settings.STAFF_SECOND_FACTOR = True
    client = logged_in(charlie.user)

    before = [client.get(path) for path in ("/admin/", "/admin/accounts/user/", "/admin/rq/")]
    Authenticator.objects.create(user=charlie.user, type=Authenticator.Type.TOTP, data={"secret": "x"})
    after = client.get("/admin/accounts/user/")

    assert [(reply.status_code, reply.url) for reply in before] == [(302, "/account/2fa/")] * 3
    assert after.status_code == 200


def test_nobody_acts_as_a_customer_without_a_second_factor(charlie: Person, alice: Person, settings: Any) -> None:
    settings.STAFF_SECOND_FACTOR = True
    client = logged_in(charlie.user)

    before = client.post("/hijack/acquire/", {"user_pk": alice.user.pk})
    still = client.get("/account/2fa/").context["user"]
    Authenticator.objects.create(user=charlie.user, type=Authenticator.Type.TOTP, data={"secret": "x"})
    client.post("/hijack/acquire/", {"user_pk": alice.user.pk})
    as_alice = client.get("/billing/").context["user"]
    client.post("/hijack/release/")

    assert (before.status_code, before.url, still) == (302, "/account/2fa/", charlie.user)
    assert as_alice == alice.user
    assert client.get("/billing/").context["user"] == charlie.user


def test_where_the_site_asks_for_none_they_are_let_in(charlie: Person, settings: Any) -> None:
    settings.STAFF_SECOND_FACTOR = False

    assert logged_in(charlie.user).get("/admin/accounts/user/").status_code == 200


def test_the_other_pages_of_staff_and_other_people_are_left_alone(charlie: Person, bob: Person, settings: Any) -> None:
    settings.STAFF_SECOND_FACTOR = True

    assert logged_in(charlie.user).get("/account/2fa/").status_code == 200
    assert logged_in(bob.user).get("/admin/").status_code == 302
    assert logged_in(bob.user).get("/admin/").url != "/account/2fa/"


def test_an_image_is_served_as_nothing_but_an_image(db: None, client: Client) -> None:
    name = "generations/3f0c1d52-9a64-4f0b-8f5e-5b7c2a9d1e10-0.png"
    default_storage.save(name, ContentFile(PRETENCE))

    reply = client.get(f"/media/{name}")

    assert (reply["Content-Type"], reply["X-Content-Type-Options"]) == ("image/png", "nosniff")
    assert "script-src 'self'" in reply["Content-Security-Policy"]
