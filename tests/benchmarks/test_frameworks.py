"""python -m benchmarks.frameworks: who is asked, what counts, and what the table says of those who can't be asked."""

import asyncio
import sys
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks import frameworks
from benchmarks.calls import Site, calls
from benchmarks.frameworks import FRAMEWORKS, Contestant, Framework, running, sent, to_site, turn
from benchmarks.report import installed
from benchmarks.site import making
from tests.conftest import Person
from tests.live import serving
from tests.tiny_model import build_tiny_model

BODIES = [call.body() for call in calls(3, seed=1, mixed=True, sizes=(64,), steps=(5, 6))]


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every process that is started serve a tiny model."""
    model = build_tiny_model(tmp_path / "model", attends_everywhere=False)
    for name, value in {"MODEL": str(model), "DEVICE": "cpu"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("framework", FRAMEWORKS, ids=lambda framework: framework.name)
def test_a_framework_makes_what_its_callers_ask_for(framework: Framework, tiny: None, tmp_path: Path) -> None:
    if installed(framework.package) is None:
        pytest.skip(f"{framework.package} is not installed here")

    with running(framework, sys.executable, tmp_path) as url:
        contestant = Contestant("it", partial(sent, framework.send, url), framework.at_once)
        rate, took = asyncio.run(turn(contestant, BODIES, callers=3))

    assert (rate > 0, len(took)) == (True, 3)


def test_of_the_platform_the_images_are_fetched_too(
    transactional_db: None, tiny: None, tmp_path: Path, alice: Person
) -> None:
    with serving(tmp_path, SYNC_WAIT_SECONDS="120") as web, making(web, {"SAFETY_CHECKER": "none"}):
        contestant = Contestant("it", partial(to_site, Site(web.url, alice.key)))
        rate, took = asyncio.run(turn(contestant, BODIES, callers=3))

    assert (rate > 0, len(took)) == (True, 3)


def test_who_answers_something_else_than_the_image_is_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async def make(pixels: int, sender: Any, body: dict[str, Any]) -> bytes:
        file = BytesIO()
        Image.new("RGB", (pixels, pixels)).save(file, "PNG")
        return file.getvalue()

    good, small = Contestant("good", partial(make, 64)), Contestant("small", partial(make, 32))

    frameworks.play([good, small], mixed=True, images=2, callers=1, size=64, rounds=2)

    assert (len(good.rates), good.fault) == (2, "")
    assert (small.rates, small.fault) == ([], "failed: RuntimeError: the image is of (32, 32)")


def test_the_table_compares_with_the_best_of_each_round_and_says_who_is_missing() -> None:
    everybody = [
        Contestant("Atelier", frameworks.unreachable, rates=[4.0, 9.0, 6.0], waited=[1.0]),
        Contestant("one", frameworks.unreachable, rates=[2.0, 3.0, 1.0], waited=[2.0]),
        Contestant("another", frameworks.unreachable, rates=[1.0, 1.0, 3.0], waited=[3.0]),
        Contestant("a third", frameworks.unreachable, fault="not installed"),
    ]

    table = frameworks.table("A title", everybody)

    assert table.rows == [
        ("Atelier", 6.0, 1.0, 1.0, 1.0),
        ("one", 2.0, 3.0, 2.0, 2.0),
        ("another", 1.0, 4.0, 3.0, 3.0),
        ("a third", "not installed", "–", "–", "–"),
        ("the best framework of each round", 3.0, 2.0, "–", "–"),
    ]


def test_frameworks_with_another_pytorch_are_refused() -> None:
    with pytest.raises(SystemExit, match=r"The frameworks have torch 0\.1"):
        frameworks.refuse_others({"torch": "0.1", "diffusers": None, "transformers": None})


def test_what_does_not_start_says_why(tmp_path: Path) -> None:
    broken = Framework("broken", "broken", ("-c", "raise SystemExit('no such model')"), "/", frameworks.to_cog)

    with pytest.raises(RuntimeError, match="does not start: no such model"), running(broken, sys.executable, tmp_path):
        pass
