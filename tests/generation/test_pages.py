"""The start page, and GET /media/…"""

import shlex
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.test import Client

from accounts.models import Plan
from billing.models import Offer, Pack
from generation import storage
from tests.conftest import Person
from tests.generation.conftest import Submit
from tests.sessions import logged_in

PNG = b"\x89PNG pretend"


def test_the_start_page_shows_a_call_that_works(client: Client, db: None) -> None:
    page = client.get("/").content.decode()

    assert "curl http://testserver/api/v3/text2img" in page
    assert all(f'href="{address}"' in page for address in ("/account/signup/", "/docs/", "/api/schema"))


def test_its_call_is_accepted_as_it_stands(client: Client, alice: Person, transactional_db: None) -> None:
    [sample, *_] = client.get("/").context["samples"]
    body = shlex.split(sample.text)[-1].replace("YOUR_API_KEY", alice.key)

    reply = client.post("/api/v3/text2img", body, content_type="application/json").json()

    assert reply["status"] == "processing"


def test_people_who_are_logged_in_go_to_the_playground(alice: Person) -> None:
    assert logged_in(alice.user).get("/")["Location"] == "/playground/"


def test_every_link_of_the_navigation_leads_to_a_page(client: Client, alice: Person) -> None:
    for browser in (client, logged_in(alice.user)):
        links = [section.address for section in browser.get("/docs/").context["sections"]]

        assert [browser.get(link).status_code for link in links] == [200] * len(links)
        assert links


def test_the_start_page_tells_what_is_on_sale(client: Client, db: None, settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = "sk_test_pretend"
    settings.WELCOME_CREDITS = 7
    Pack.objects.create(name="Medium", credits=1500, price_cents=900, currency="usd")
    Pack.objects.create(name="Old one", credits=5, price_cents=1, currency="usd", is_active=False)
    plan = Plan.objects.create(name="Studio", requests_per_minute=60)
    Offer.objects.create(plan=plan, monthly_credits=400, price_cents=1000, currency="eur")

    page = client.get("/").content.decode()

    for words in ("$9.00", "1,500", "Studio", "€10.00", "60 requests a minute", "Start with 7 free credits"):
        assert words in page
    assert "Old one" not in page


def test_the_start_page_sells_nothing_where_no_card_is_taken(client: Client, db: None) -> None:
    Pack.objects.create(name="Medium", credits=1500, price_cents=900, currency="usd")

    page = client.get("/").content.decode()

    assert "Medium" not in page
    assert "credits are given by the people who run this site" in page


def test_the_start_page_loads_nothing_from_other_hosts(client: Client, db: None) -> None:
    page = client.get("/").content.decode()

    assert not [part for part in ("src=", "href=") if f'{part}"http' in page or f'{part}"//' in page]


def test_it_sends_an_image_that_no_browser_takes_for_something_else(client: Client, submit: Submit) -> None:
    generation = submit()
    storage.save_image(generation, 0, PNG, as_base64=True)

    image, text = (client.get(storage.url(generation, 0, as_base64)) for as_base64 in (False, True))

    assert (image.content, image["Content-Type"]) == (PNG, "image/png")
    assert (text.content, text["Content-Type"]) == (b"iVBORyBwcmV0ZW5k", "text/plain")
    for reply in (image, text):
        assert reply["X-Content-Type-Options"] == "nosniff"
        assert reply["Cache-Control"] == "public, max-age=31536000, immutable"


def test_an_image_that_is_not_there_yet_is_not_found_and_not_cached(client: Client, submit: Submit) -> None:
    reply = client.get(storage.url(submit(), 0, as_base64=False))

    assert reply.status_code == 404
    assert "Cache-Control" not in reply


@pytest.mark.parametrize(
    "path",
    [
        "../secret_key",
        "generations/../../secret_key",
        "generations/%2e%2e/%2e%2e/secret_key",
        "..%2fsecret_key",
        "generations/..%5c..%5csecret_key",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "",
        "generations/",
        "other.png",
        "generations/11111111-1111-1111-1111-111111111111-4.png",
        "generations/11111111-1111-1111-1111-111111111111-0.html",
        "generations/11111111-1111-1111-1111-111111111111-0.png%0a",
        "generations/11111111-1111-1111-1111-111111111111-0.png%00",
        "generations/11111111-1111-1111-1111-111111111111-0.png.part",
    ],
)
def test_it_sends_results_and_nothing_else(client: Client, db: None, settings: Any, tmp_path: Path, path: str) -> None:
    (tmp_path / "secret_key").write_text("secret")
    prefix = "generations/11111111-1111-1111-1111-111111111111"
    for name in ("other.png", f"{prefix}-4.png", f"{prefix}-0.html", f"{prefix}-0.png.part"):
        default_storage.save(name, ContentFile(b"private"))

    assert client.get(f"/media/{path}").status_code == 404


def test_it_sends_no_start_image(client: Client, db: None) -> None:
    name = storage.save_input(PNG)

    for path in (name, f"inputs/{name}", f"../inputs/{name}", f"generations/../../inputs/{name}"):
        assert client.get(f"/media/{path}").status_code == 404
