"""Photographs every page for docs/screens.md: `python -m docs.screenshots`.

It starts a site of its own as the browser tests do, with an account that owns one of everything, and images made by
the built-in model. Needs the test extra and Chromium.
"""

import os
import re
import tempfile
import threading
from contextlib import AbstractContextManager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

from tests import services as test_services  # starts PostgreSQL and Valkey, and says so in the environment

os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"

import django

django.setup()

from django.conf import settings
from django.core.management import call_command
from django.utils import timezone
from PIL import Image
from playwright.sync_api import BrowserContext, Page

from accounts.models import ApiKey, User
from billing import ledger
from billing.models import Pack
from config.storage import storages
from generation import making, services, storage
from generation.engine import Engine, EngineSettings
from generation.leases import hearts
from generation.models import Generation
from generation.params import Inputs, Params
from tests.addresses import Address, addresses
from tests.belongings import SAMPLES, Belongings, furnish
from tests.conftest import Person
from tests.e2e.browser import NARROW, WIDE, chromium, open_profile
from tests.live import Web, serving
from tests.stripe_server import PretendStripe, pretend_stripe

ROOT = Path(__file__).resolve().parent
FOLDER = ROOT / "images" / "screens"
QUALITY = 50  # of WebP, in percent
SIDE = 384  # pixels, of the images made
NOT_SHOWN = (
    "admin/",
    "api/v",
    "api/openapi",
    "media/",
    "stripe/",
    "metrics",
    "healthz",
    "readyz",
    "docs/endpoints/",
    "hijack/",
)
SHOWN_ALL_THE_SAME = ("docs/endpoints/img2img/",)  # its neighbours look alike
IN_THE_ADMIN = (  # of its many pages, those that staff see most
    *("", "models/", "accounts/user/", "accounts/user/{user}/change/", "accounts/quotaoverride/add/"),
    *("generation/generation/", "generation/generation/{generation}/change/", "generation/delivery/"),
    *("billing/entry/", "billing/purchase/", "auditlog/logentry/"),
)
AS_VISITOR = ("", "account/login/", "account/signup/", "account/password/reset/")
WORDS = ("a red apple", "a yellow star", "a blue fish", "a rocket", "a smiling face", "a green tree", "a pink heart")


def main() -> None:
    """Write docs/images/screens/ and docs/screens.md."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.webp"):
        old.unlink()
    try:
        with tempfile.TemporaryDirectory() as name:
            settings.STORAGES = storages("", Path(name))
            call_command("migrate", verbosity=0)
            owned = open_shop()
            with pretend_stripe() as stripe, site(Path(name), stripe) as web, chromium() as browser:
                visitor, alice = open_profile(browser, web), open_profile(browser, web, owned.person)
                shots = [
                    photograph(str(address), address.path(owned), visitor if address.route in AS_VISITOR else alice)
                    for address in shown()
                ]
                staff = open_profile(browser, web, charlie())
                shots += [
                    photograph(f"/admin/{page}", f"/admin/{page.format(**ids(owned))}", staff) for page in IN_THE_ADMIN
                ]
    finally:
        test_services.pytest_unconfigure()
    taken = [shot for shot in shots if shot]
    (ROOT / "screens.md").write_text(contents(taken))
    total_bytes = sum(path.stat().st_size for path in FOLDER.glob("*.webp"))
    print(f"{len(taken)} pages, {total_bytes / 2**20:.2f} MB")  # noqa: T201


def site(folder: Path, stripe: PretendStripe) -> AbstractContextManager[Web]:
    """Serve a site that takes cards."""
    secrets = " ".join(stripe.webhooks.secrets)
    cards = {"STRIPE_API_BASE": stripe.url, "STRIPE_SECRET_KEY": "sk_test_pretend", "STRIPE_WEBHOOK_SECRETS": secrets}
    return serving(folder, SECRET_KEY=settings.SECRET_KEY, **cards)


def open_shop() -> Belongings:
    """Return what alice owns: one of everything, and a few images that the built-in model made."""
    user = User.objects.create_user("alice@example.org", "correct horse")
    ledger.grant(user.pk, 500, "demo:alice", "Welcome")
    for name, credits, price_cents in (("Small", 100, 200), ("Medium", 500, 900)):
        Pack.objects.create(name=name, credits=credits, price_cents=price_cents, currency="usd")
    owned = furnish(Person(user, *ApiKey.create(user, "Production")))
    User.objects.filter(pk=user.pk).update(plan=owned.subscription.offer.plan)
    pretend = [owned.generation.pk, owned.failed.pk, owned.queued.pk]
    services.cancel(owned.queued.pk)
    Generation.objects.filter(pk__in=pretend[::2]).update(deleted_at=timezone.now())

    engine = Engine.load(EngineSettings(model=str(settings.BASE_DIR / "generation" / "starter"), safety="none"))
    for seed, words in enumerate(WORDS):
        make(
            engine,
            owned.person,
            Params("text2img", words, seed, width=SIDE, height=SIDE, num_inference_steps=16, enhance_prompt=False),
        )
    drawing = storage.save_input((SAMPLES / "doodle-face.png").read_bytes())
    params = Params(
        "img2img", "a smiling face", 3, samples=2, width=SIDE, height=SIDE, num_inference_steps=24, strength=0.7
    )
    return replace(owned, generation=make(engine, owned.person, params, Inputs(init_image_name=drawing)))


def make(engine: Engine, person: Person, params: Params, inputs: Inputs | None = None) -> Generation:
    generation = services.submit(person.user, params, inputs or Inputs(), "order-7", api_key=person.api_key)
    claimed = services.claim(generation.pk)
    assert claimed
    with hearts() as beating:
        making.make(claimed, engine, threading.Event(), beating)
    return Generation.objects.get(pk=generation.pk)


def shown() -> list[Address]:
    return [
        address
        for address in addresses()
        if address.route in SHOWN_ALL_THE_SAME or not address.route.startswith(NOT_SHOWN)
    ]


def charlie() -> Person:
    """Return staff."""
    user = User.objects.create_superuser("charlie@example.org", "correct horse")
    return Person(user, *ApiKey.create(user, "test"))


def ids(owned: Belongings) -> dict[str, int]:
    return {"user": owned.person.user.pk, "generation": owned.generation.pk}


def photograph(title: str, path: str, context: BrowserContext) -> tuple[str, str] | None:
    """Write a page's pictures; return its title and the name of its pictures, or nothing where no page is."""
    answer = context.request.get(path, max_redirects=0, headers={"Accept": "text/html"})
    if answer.status != 200 or "text/html" not in answer.headers["content-type"]:
        return None
    name = re.sub(r"\W+", "-", re.sub(r"%\((\w+)\)s", r"\1", title)).strip("-") or "home"
    page = context.new_page()
    for size in (WIDE, NARROW):
        page.set_viewport_size(size)
        page.goto(path)
        page.wait_for_timeout(300)  # pictures and charts
        save(page, FOLDER / f"{name}-{size['width']}.webp")
    page.close()
    return title, name


def save(page: Page, path: Path) -> None:
    Image.open(BytesIO(page.screenshot())).convert("RGB").save(path, "WEBP", quality=QUALITY, method=6)


def contents(shots: list[tuple[str, str]]) -> str:
    lines = [
        "# Every page",
        "",
        "Written by `python -m docs.screenshots`, with images by the built-in model. At 1280 and at 390 pixels.",
        "",
    ]
    for address, name in shots:
        lines += [f"## `{address}`", "", picture(name, WIDE, 640), picture(name, NARROW, 195), ""]
    return "\n".join(lines)


def picture(name: str, size: Any, width: int) -> str:
    return (
        f'<img src="images/screens/{name}-{size["width"]}.webp" width="{width}" alt="{name}, {size["width"]} pixels">'
    )


if __name__ == "__main__":
    main()
