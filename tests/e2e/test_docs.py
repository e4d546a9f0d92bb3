"""The documentation at work: its samples are run against the site that shows them, as a reader would."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from generation import serving
from generation.models import Generation
from generation.v3.handbook import examples, pages
from generation.v3.handbook.reference import NAMES, endpoints
from tests.conftest import Person
from tests.live import Web, working
from tests.sessions import logged_in
from tests.v3 import bodies

COMMANDS = {"curl": ["bash"], "python": [sys.executable], "node": ["node", "--input-type=module", "-"]}
languages = [language for language, command in COMMANDS.items() if shutil.which(command[0])]


@pytest.fixture
def read(transactional_db: None, web: Web, alice: Person) -> Callable[[str], dict[str, str]]:
    """Return a function that gives the samples of a page by language, as alice copies them with her key pasted in."""
    client = logged_in(alice.user)

    def read_page(address: str) -> dict[str, str]:
        page = client.get(address, headers={"host": f"127.0.0.1:{web.port}"}).content.decode()
        found = re.findall(r'<code id="sample-(\w+)-code">(.*?)</code>', page, re.DOTALL)
        return {language: unescape(text).replace(f"sk_…{alice.key[-4:]}", alice.key) for language, text in found}

    return read_page


def smaller(samples: dict[str, str]) -> dict[str, str]:
    """Return the samples with a small image and few steps, which take no time."""
    return {
        language: text.replace(": 512", ": 64").replace('num_inference_steps": 31', 'num_inference_steps": 3')
        for language, text in samples.items()
    }


def run(language: str, program: str, folder: Path) -> str:
    """Run a program from its standard input, as if it were pasted, and return what it prints."""
    done = subprocess.run(
        COMMANDS[language], input=program, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_all(samples: dict[str, str], folder: Path) -> dict[str, str]:
    """Run the sample in every language at once, each in a folder of its own."""
    for language in languages:
        (folder / language).mkdir(exist_ok=True)
    with ThreadPoolExecutor() as pool:
        printed = pool.map(lambda language: run(language, samples[language], folder / language), languages)
    return dict(zip(languages, printed, strict=True))


def statuses(printed: dict[str, str]) -> set[str]:
    """Return the `status` of each answer, in whatever notation a language prints it."""
    return {re.search(r"\W?status\W+(\w+)", text)[1] for text in printed.values()}  # type: ignore[index]


def test_every_endpoint_has_a_page_and_every_language_a_sample(read: Callable[[str], dict[str, str]]) -> None:
    assert list(endpoints()) == NAMES

    for name in NAMES:
        assert {"curl", "python", "javascript", "node", "php", "java"} == set(read(pages.address(name))), name


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith(("fetch", "cancel", "reproduce"))])
def test_the_samples_do_what_they_say(
    name: str,
    read: Callable[[str], dict[str, str]],
    web: Web,
    work: Callable[[], None],
    settings: Any,
    tmp_path: Path,
) -> None:
    settings.FETCH_ALLOWED_HOSTS = frozenset({f"127.0.0.1:{web.port}"})

    with working(work):
        printed = run_all(smaller(read(pages.address(name))), tmp_path)

    assert statuses(printed) <= {"success", "ok"}
    if endpoints()[name].is_generating:
        images = [path.read_bytes()[:4] for path in (tmp_path / "node").glob("*.png")]
        assert images == [b"\x89PNG"] * ("node" in languages)


@pytest.mark.parametrize("name", ["fetch", "fetch/{id}"])
def test_the_samples_fetch_the_readers_newest_image(
    name: str, read: Callable[[str], dict[str, str]], web: Web, alice: Person, work: Any, tmp_path: Path
) -> None:
    with working(work):
        made = web.post("text2img", bodies.text2img(alice.key))

    printed = run_all(read(pages.address(name)), tmp_path)

    assert statuses(printed) == {"success"}
    assert all(str(made["id"]) in text for text in printed.values())


def test_the_samples_make_the_readers_newest_image_again(
    read: Callable[[str], dict[str, str]], web: Web, alice: Person, work: Any, tmp_path: Path
) -> None:
    with working(work):
        made = web.post("text2img", bodies.text2img(alice.key))
        Generation.objects.filter(pk=made["id"]).update(model=serving.served_model())
        printed = run_all(read(pages.address("reproduce/{id}")), tmp_path)

    assert statuses(printed) == {"success"}


@pytest.mark.parametrize("name", ["cancel", "cancel/{id}"])
def test_the_samples_cancel_the_readers_newest_generation(
    name: str, read: Callable[[str], dict[str, str]], alice: Person, api: Any, tmp_path: Path
) -> None:
    api.post("text2img", bodies.text2img(alice.key))

    printed = run_all(read(pages.address(name)), tmp_path)

    assert statuses(printed) == {"success"}
    assert Generation.objects.get().status == "canceled"


def test_the_shown_answers_have_the_form_of_real_ones(
    web: Web, alice: Person, api: Any, work: Callable[[], None]
) -> None:
    body = bodies.img2img(alice.key)
    waiting = api.post("img2img", body).json()
    work()
    done = api.post(f"fetch/{waiting['id']}", {"key": alice.key}).json()
    failed = api.post("text2img", bodies.text2img(alice.key)).json()
    api.post(f"cancel/{failed['id']}", {"key": alice.key})
    failed = api.post(f"fetch/{failed['id']}", {"key": alice.key}).json()

    assert form(examples.success("http://testserver")) == form(done)
    assert form(examples.processing("http://testserver")) == form(waiting)
    assert form(examples.failed()) == form(failed)


def form(value: Any) -> Any:
    """Return the names and types of a JSON value; a text may be missing, since links are shown and base64 is not."""
    if isinstance(value, dict):
        return {name: form(part) for name, part in value.items()}
    if isinstance(value, list):
        return [form(part) for part in value]
    return "text" if value is None or isinstance(value, str) else type(value).__name__


def test_a_reader_chooses_a_language_once_and_fills_the_key_in(page: Page) -> None:
    page.goto("/docs/quick-start/")
    page.get_by_role("tab", name="Python").first.click()
    page.get_by_label("Your API key").fill("sk_mine")

    for sample in ("first", "later"):
        code = page.locator(f"#{sample}-python-code")
        expect(code).to_be_visible()
        expect(code).to_contain_text('"key": "sk_mine"')
    page.goto("/docs/endpoints/text2img/")
    expect(page.locator("#sample-python-code")).to_contain_text("YOUR_API_KEY")
    expect(page.locator("#sample-curl-code")).to_be_hidden()


def test_a_key_that_is_typed_and_corrected_stands_where_a_key_belongs(page: Page) -> None:
    page.goto("/docs/quick-start/")
    field, code = page.get_by_label("Your API key"), page.locator("#first-python-code")
    before = code.text_content()
    assert before

    field.press_sequentially("key")
    assert code.text_content() == before.replace("YOUR_API_KEY", "key")
    for _ in "key":
        field.press("Backspace")
    assert code.text_content() == before


def test_the_postman_collection_has_every_endpoint(web: Web) -> None:
    collection = json.loads(web.request("GET", "/docs/postman.json")[1])

    assert [item["name"] for item in collection["item"]] == NAMES
    assert collection["variable"][0] == {"key": "base_url", "value": web.url}
    for item in collection["item"]:
        assert json.loads(item["request"]["body"]["raw"])["key"] == "{{api_key}}"
