"""python -m benchmarks.load: what callers do, what is counted, and what is written down."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import load, report
from benchmarks.load import WHOLE, Load
from benchmarks.report import Table
from generation.models import Generation
from tests.conftest import Person
from tests.live import serving, working


def run(tool: Load, calls: int, mix: dict[str, int]) -> list[Table]:
    left = iter(range(calls))
    return tool.tables(asyncio.run(tool.run(3, mix, lambda: next(left, None) is not None)))


def test_callers_follow_what_they_began_and_everything_is_counted(
    transactional_db: None, tmp_path: Path, alice: Person, work: Any, settings: Any
) -> None:
    from config.storage import storages

    settings.STORAGES = storages("", tmp_path)
    with serving(tmp_path, SYNC_WAIT_SECONDS="0.1", FETCH_WAIT_SECONDS="5") as web:
        tool, stranger = Load(web.url, alice.key, size_pixels=64, steps=1), Load(web.url, "sk_nobody")
        with working(work):
            (calls,) = run(tool, 20, {"text2img": 2, "img2img": 2, "account": 1, "invalid": 1})
        refused = run(stranger, 3, {"account": 1})
    nobody = run(Load(web.url, alice.key), 2, {"account": 1})

    counts = {row[0]: (row[1], row[-1]) for row in calls.rows}
    made = Generation.objects.filter(status="success").count()
    assert counts.keys() == {"text2img", "img2img", "account", "invalid", "fetch", WHOLE}
    assert counts[WHOLE] == (made, 0)
    assert counts["text2img"][0] + counts["img2img"][0] == made == Generation.objects.count()
    assert counts["invalid"][0] > 0
    assert sum(errors for _, errors in counts.values()) == 0
    assert [row[1:] for row in refused[1].rows] == [("error: Invalid Api Key", 3)]
    assert [row[1:] for row in nobody[1].rows] == [("ClientConnectorError", 2)]


@pytest.mark.parametrize("text", ["", "text2img", "text2img=0", "nonsense=1"])
def test_a_mix_that_calls_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (argparse shows the text)
        load.read_mix(text)


def test_what_is_written_names_the_machine_and_hides_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    key = "sk_" + "a1" * 20
    monkeypatch.setattr(report, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["load.py", "http://127.0.0.1", "--key", key])

    path = report.publish("load", [Table("Calls", ("call", "p50"), [("fetch", 12.345), ("all", 1234)])], callers=2)

    written = json.loads(path.read_text())
    printed = capsys.readouterr().out
    assert written["command"] == "python -m benchmarks.load http://127.0.0.1 --key [hidden]"
    assert written["tables"] == [
        {"title": "Calls", "columns": ["call", "p50"], "rows": [["fetch", 12.345], ["all", 1234]]}
    ]
    assert written["machine"]["cores"] >= 1
    assert "| fetch | 12.3 |\n| all | 1,234 |" in printed
    assert written["machine"]["cpu"] in printed


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 6), (0.95, 10), (1.0, 10)])
def test_a_quantile_is_one_of_the_values(share: float, value: int) -> None:
    assert report.quantile(range(1, 11), share) == value
