"""The playground: its form, its price, and what happens when it is sent, with scripts and without."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from accounts.models import Plan, User
from billing import ledger
from generation import services, storage
from generation.models import Generation
from generation.params import Inputs
from tests.conftest import Person
from tests.generation.conftest import Submit, row, small
from tests.sessions import logged_in
from tests.v3.bodies import mask, picture, written

MAKE, PRICE = "/playground/generations", "/playground/price"
FORM = {
    "mode": "text2img",
    "prompt": "a cat",
    "negative_prompt": "a dog",
    "width": "64",
    "height": "128",
    "num_inference_steps": "2",
    "guidance_scale": "3.5",
    "strength": "0.5",
    "samples": "2",
    "seed": "7",
    "enhance_prompt": "no",
    "safety_checker": "no",
}
ASKED = small(negative_prompt="a dog", height=128, guidance_scale=3.5, samples=2)
SCRIPT, BROWSER = {"HTTP_ACCEPT": "application/json"}, {"HTTP_ACCEPT": "text/html,*/*"}


@pytest.fixture
def site(alice: Person) -> Client:
    """Alice's browser."""
    return logged_in(alice.user)


def upload(data: bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile("start.png", data, "image/png")


def test_a_script_gets_the_generation_that_the_form_asked_for(site: Client, alice: Person) -> None:
    reply = site.post(MAKE, FORM, **SCRIPT)

    generation = Generation.objects.get()
    pk = generation.pk
    assert (generation.account, generation.api_key, generation.parameters) == (alice.user, None, ASKED)
    assert reply.status_code == 201
    assert reply.json() | {"eta_seconds": 0} == {
        "id": pk,
        "status": "queued",
        "message": "",
        "step": 0,
        "steps": 2,
        "eta_seconds": 0,
        "params": ASKED.as_json(),
        "images": [],
        "start_image": "",
        "charged_credits": 0,
        "balance_credits": 998,
        "seconds": 0,
        "address": f"/history/{pk}/",
        "addresses": {name: f"/history/{pk}/{name}" for name in ("events", "state", "cancel", "again", "code")},
    }
    assert site.get(f"/history/{pk}/state").json() | {"eta_seconds": 0} == reply.json() | {"eta_seconds": 0}


def test_a_browser_without_scripts_is_led_to_the_generation(site: Client) -> None:
    reply = site.post(MAKE, FORM, **BROWSER)

    assert (reply.status_code, reply["Location"]) == (302, f"/history/{Generation.objects.get().pk}/")


def test_start_image_and_mask_are_kept_as_they_were_sent(site: Client) -> None:
    form = FORM | {"mode": "inpaint", "init_image": upload(picture()), "mask_image": upload(mask())}

    pk = site.post(MAKE, form, **SCRIPT).json()["id"]

    assert row(Generation(pk=pk)).parameters.strength == 0.5
    for name, data in (("init", picture()), ("mask", mask())):
        reply = site.get(f"/history/{pk}/inputs/{name}")
        assert (reply.content, reply["Content-Type"]) == (data, "image/png")


def test_a_form_can_not_make_the_site_fetch_a_link(site: Client) -> None:
    before = written()

    reply = site.post(MAKE, FORM | {"mode": "img2img", "init_image": "http://127.0.0.1/secret.png"}, **SCRIPT)

    assert (reply.status_code, list(reply.json()["errors"])) == (400, ["init_image"])
    assert written() == before


WRONG = {
    "prompt": ("", "The prompt field is required."),
    "width": ("65", "The width must be a multiple of 8."),
    "samples": ("five", "The samples must be a number."),
    "guidance_scale": ("0.5", "The guidance scale must be between 1 and 20."),
}


def test_what_is_wrong_stands_beside_its_field_and_nothing_is_written(site: Client) -> None:
    wrong = FORM | {name: value for name, (value, _) in WRONG.items()}
    before = written()

    script, browser = site.post(MAKE, wrong, **SCRIPT), site.post(MAKE, wrong, **BROWSER)

    assert (script.status_code, browser.status_code) == (400, 400)
    assert script.json() == {"errors": {name: [words] for name, (_, words) in WRONG.items()}}
    page = browser.content.decode()
    for name, (_, words) in WRONG.items():
        assert f'id="error_{name}" data-errors="{name}"><li>{words}</li></ul>' in page
    assert written() == before


def test_what_was_typed_is_still_there_after_a_refusal(site: Client) -> None:
    wrong = FORM | {"mode": "inpaint", "prompt": '"a" <b>', "width": "65", "strength": "0.25", "safety_checker": "yes"}

    page = site.post(MAKE, wrong, **BROWSER).content.decode()

    for words in (
        "&quot;a&quot; &lt;b&gt;</textarea>",
        'name="negative_prompt" maxlength="2000" value="a dog"',
        'id="mode_inpaint" value="inpaint" checked',
        'name="width" min="64" max="1024" step="8" value="65"',
        'name="strength" min="0" max="1" step="0.01" value="0.25"',
        'name="seed" inputmode="numeric" pattern="[0-9]*" value="7"',
        'name="enhance_prompt" value="yes">',
        'name="safety_checker" value="yes" checked>',
    ):
        assert words in page


@pytest.mark.parametrize("data", [b"", b"no image", picture()[:40]])
def test_a_file_that_is_no_image_is_refused(site: Client, data: bytes) -> None:
    before = written()

    reply = site.post(MAKE, FORM | {"mode": "img2img", "init_image": upload(data)}, **SCRIPT)

    assert (reply.status_code, list(reply.json()["errors"])) == (400, ["init_image"])
    assert written() == before


@pytest.mark.parametrize("mode", ["", "video", "TEXT2IMG"])
def test_a_mode_that_there_is_not_is_refused(site: Client, mode: str) -> None:
    for address in (MAKE, PRICE):
        reply = site.post(address, FORM | {"mode": mode}, **SCRIPT)
        assert (reply.status_code, reply.json()) == (400, {"errors": {"mode": ["Choose what to begin with."]}})


def spend_all(user: User) -> None:
    ledger.hold(user.pk, ledger.balance(user.pk), "test:spent")
    ledger.settle("test:spent", 1000)


def limit(**limits: int) -> Callable[[User], None]:
    def put(user: User) -> None:
        user.plan = Plan.objects.create(name="Small", **limits)
        user.save()

    return put


def suspend(user: User) -> None:
    user.suspended_at, user.suspension_reason = timezone.now(), "The card was stolen."
    user.save()


SEE_LIMITS = {"address": "/usage/", "label": "See your limits"}
REFUSALS: list[tuple[Callable[[User], None], dict[str, Any]]] = [
    (
        spend_all,
        {
            "status": 402,
            "message": "This needs 2 credits and you have 0.",
            "address": "/billing/",
            "label": "Buy credits",
        },
    ),
    (limit(images_per_day=1), {"status": 403, "message": "Your daily limit is reached."} | SEE_LIMITS),
    (limit(images_per_month=1), {"status": 403, "message": "Your monthly limit is reached."} | SEE_LIMITS),
    (
        suspend,
        {
            "status": 403,
            "message": "Your account is suspended: The card was stolen. Images and credits stay as they are.",
            "address": "",
            "label": "",
        },
    ),
]


@pytest.mark.parametrize(("spoil", "refusal"), REFUSALS, ids=["credits", "daily", "monthly", "suspended"])
def test_a_refusal_says_why_and_writes_nothing(
    site: Client, alice: Person, spoil: Callable[[User], None], refusal: dict[str, Any]
) -> None:
    spoil(alice.user)
    before, balance = written(), alice.balance
    form = FORM | {"mode": "img2img"}

    script = site.post(MAKE, form | {"init_image": upload(picture())}, **SCRIPT)
    browser = site.post(MAKE, form | {"init_image": upload(picture())}, **BROWSER)

    assert (script.status_code, script.json()) == (refusal["status"], {"refusal": refusal})
    assert browser.status_code == refusal["status"]
    assert refusal["message"] in browser.content.decode()
    assert (written(), alice.balance) == (before, balance)


def test_too_many_in_a_minute_are_refused(site: Client, alice: Person) -> None:
    limit(generations_at_once=1)(alice.user)
    site.post(MAKE, FORM, **SCRIPT)
    before = written()

    reply = site.post(MAKE, FORM, **SCRIPT)

    assert (reply.status_code, written()) == (429, before)
    assert reply.json()["refusal"]["message"].startswith("Too many requests. ")


def test_the_price_is_the_one_that_is_charged_and_asking_writes_nothing(site: Client, alice: Person) -> None:
    form = FORM | {"mode": "img2img", "width": "512", "height": "512", "num_inference_steps": "31"}
    before = written()

    price = site.post(PRICE, form)

    assert written() == before
    site.post(MAKE, form | {"init_image": upload(picture())}, **SCRIPT)
    held = Generation.objects.get().held_credits
    assert (price.status_code, price.json()) == (200, {"credits": held, "balance_credits": 1000, "steps": 15})
    assert alice.balance == 1000 - held


def test_the_price_needs_no_words_and_no_image(site: Client) -> None:
    form = FORM | {"mode": "inpaint", "prompt": ""}

    assert site.post(PRICE, form).json() == {"credits": 2, "balance_credits": 1000, "steps": 1}
    assert site.post(PRICE, form | {"width": "65"}).json() == {"errors": {"width": [WRONG["width"][1]]}}


def test_the_form_is_filled_in_from_an_earlier_generation(site: Client, submit: Submit) -> None:
    name = storage.save_input(picture())
    earlier = submit(Inputs(init_image_name=name), mode="img2img", prompt='<b>"x"</b>', seed=123456, strength=0.25)

    page, vary = (site.get(f"/playground/?from={earlier.pk}{more}").content.decode() for more in ("", "&vary"))

    for words in (
        "&lt;b&gt;&quot;x&quot;&lt;/b&gt;</textarea>",
        f'data-start="/history/{earlier.pk}/inputs/init"',
        'id="mode_img2img" value="img2img" checked',
        'name="strength" min="0" max="1" step="0.01" value="0.25"',
        'name="width" min="64" max="1024" step="8" value="64"',
    ):
        assert words in page
        assert words in vary
    assert 'name="seed" inputmode="numeric" pattern="[0-9]*" value="123456"' in page
    assert 'name="seed" inputmode="numeric" pattern="[0-9]*" value=""' in vary
    assert "<b>" not in page


@pytest.mark.parametrize("wanted", ["{bobs}", "0", "-1", "x", "٣", "9" * 19, "1.5", "1%00"])
def test_what_is_not_theirs_or_not_there_leaves_the_form_as_it_is(
    site: Client, bob: Person, submit: Submit, wanted: str
) -> None:
    ledger.grant(bob.user.pk, 10, "test:bob")
    bobs = submit(by=bob, prompt="a secret of bob's")

    reply = site.get(f"/playground/?from={wanted.format(bobs=bobs.pk)}")

    assert reply.status_code == 200
    assert reply.context["earlier"] is None
    assert "a secret" not in reply.content.decode()


def test_run_again_makes_the_same_and_vary_seed_another(site: Client, submit: Submit) -> None:
    name = storage.save_input(picture())
    earlier = submit(Inputs(init_image_name=name), mode="img2img", strength=0.5, seed=5)
    services.cancel(earlier.pk)

    same = row(Generation(pk=site.post(f"/history/{earlier.pk}/again", **SCRIPT).json()["id"]))
    other = row(Generation(pk=site.post(f"/history/{earlier.pk}/again", {"seed": "random"}, **SCRIPT).json()["id"]))

    assert same.params == earlier.params
    assert same.init_image_name not in ("", name)  # so that one may be deleted without the other
    assert storage.read_input(same.init_image_name) == picture()
    assert other.params["seed"] != 5
    assert other.params | {"seed": 5} == earlier.params


def test_run_again_fetches_a_link_anew(site: Client, submit: Submit) -> None:
    earlier = submit(Inputs(init_image_url="https://example.org/cat.png"), mode="img2img", strength=0.5)

    reply = site.post(f"/history/{earlier.pk}/again", **BROWSER)

    again = Generation.objects.latest("pk")
    assert reply["Location"] == f"/history/{again.pk}/"
    assert (again.init_image_url, again.inputs_ready) == ("https://example.org/cat.png", False)


def test_run_again_tells_why_it_is_refused(site: Client, alice: Person, submit: Submit) -> None:
    earlier = submit()
    suspend(alice.user)

    reply = site.post(f"/history/{earlier.pk}/again", **BROWSER, follow=True)

    assert reply.redirect_chain == [(f"/history/{earlier.pk}/", 302)]
    assert "Your account is suspended: The card was stolen." in reply.content.decode()
    assert Generation.objects.count() == 1


def test_cancel_ends_it_and_gives_the_credits_back(site: Client, alice: Person, submit: Submit) -> None:
    generation = submit()

    reply = site.post(f"/history/{generation.pk}/cancel", **SCRIPT).json()

    assert (reply["status"], reply["balance_credits"], alice.balance) == ("canceled", 1000, 1000)


def test_strangers_and_other_sites_make_nothing(client: Client, alice: Person) -> None:
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(alice.user, "django.contrib.auth.backends.ModelBackend")
    before = written()

    for address in (MAKE, PRICE):
        assert client.post(address, FORM)["Location"] == "/account/login/?next=/"
        assert careful.post(address, FORM).status_code == 403
    assert logged_in(alice.user).get(MAKE)["Location"] == "/playground/"
    assert logged_in(alice.user).get(PRICE).status_code == 405
    assert written() == before
