"""python -m benchmarks.page: docs/performance.md shows the figures of the files, and nothing else."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import page

MACHINE = {"cpu": "A CPU", "cores": 2, "memory_gib": 24, "gpu": None, "system": "Linux", "python": "3.11", "load": 1.5}
MEMORY = {"title": "Memory", "columns": ["images made", "worker, MiB of RSS"], "rows": [[20, 700.0], [200, 710.5]]}
RATES = {"title": "<Rates>", "columns": ["who", "a second"], "rows": [["a & b", 8.0], ["c", 4], ["d", "not installed"]]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of another page that wants three benchmarks' figures."""
    names = ("rates", "memory", "gpu")
    marks = "\n".join(f"About {name}\n\n<!-- figures of {name} -->\nold\n<!-- end of figures -->\n" for name in names)
    (tmp_path / "performance.md").write_text(marks)
    monkeypatch.setattr(page, "PAGE", tmp_path / "performance.md")
    monkeypatch.setattr(page, "FOLDER", tmp_path / "performance")
    (tmp_path / "performance").mkdir()
    return tmp_path / "performance"


def keep(path: Path, *tables: dict[str, Any], **machine: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    found = {"command": f"python -m benchmarks.{path.stem}", "at": "2026-11-28T21:00:00+00:00"}
    path.write_text(json.dumps(found | {"machine": MACHINE | machine, "tables": tables}))


def test_the_page_is_up_to_date() -> None:
    """If this fails: python -m benchmarks.page."""
    made = page.files()

    assert {path: path.read_text() for path in made} == made
    assert page.plots() <= made.keys()


def test_every_benchmark_that_writes_figures_has_a_place_on_the_page() -> None:
    shown = {name for name, _ in page.FIGURES.findall(page.PAGE.read_text())}
    written = {path.stem for path in page.FOLDER.glob("*.json")}

    assert page.BARS.keys() | page.LINES.keys() | {"waiting", "load", "gpu"} == shown
    assert written <= shown


def test_figures_stand_where_they_belong_and_what_has_none_was_not_run(folder: Path) -> None:
    keep(folder / "rates.json", RATES)
    keep(folder / "gpu" / "memory.json", MEMORY, gpu="A GPU")
    (folder / "old-1.svg").write_text("")

    page.main()

    assert page.PAGE.read_text() == (
        "About rates\n\n<!-- figures of rates -->\n\n"
        "**<Rates>**\n\n| who | a second |\n| --- | ---: |\n| a & b | 8 |\n| c | 4 |\n| d | not installed |\n\n"
        "![<Rates>](performance/rates-1.svg)\n\n"
        "`python -m benchmarks.rates`, 28 November 2026: 2 cores of A CPU, 24 GiB; Linux, Python 3.11; load 1.5.\n\n"
        "<!-- end of figures -->\n\n"
        "About memory\n\n<!-- figures of memory -->\n\n*Not run.*\n\n<!-- end of figures -->\n\n"
        "About gpu\n\n<!-- figures of gpu -->\n\n"
        "**Memory**\n\n| images made | worker, MiB of RSS |\n| --- | ---: |\n| 20 | 700 |\n| 200 | 710 |\n\n"
        "![Memory](performance/gpu/memory-1.svg)\n\n"
        "`python -m benchmarks.memory`, 28 November 2026: 2 cores of A CPU, 24 GiB, A GPU; Linux, Python 3.11; "
        "load 1.5.\n\n<!-- end of figures -->\n"
    )
    assert page.plots() == {folder / "rates-1.svg", folder / "gpu" / "memory-1.svg"}


def test_bars_are_as_long_as_their_numbers_and_lines_have_a_point_for_each_mark(folder: Path) -> None:
    keep(folder / "rates.json", RATES)
    keep(folder / "memory.json", MEMORY)

    page.main()

    bars, lines = (ElementTree.parse(folder / f"{name}-1.svg").getroot() for name in ("rates", "memory"))
    svg = "{http://www.w3.org/2000/svg}"
    widths = [float(bar.attrib["width"]) for bar in bars.iter(f"{svg}rect")][1:]
    paths = [path.attrib["d"] for path in lines.iter(f"{svg}path") if "transform" in path.attrib]
    assert (len(widths), widths[0]) == (2, 2 * widths[1])
    assert [path.count("L") for path in paths] == [1]


def test_writing_it_twice_changes_nothing(folder: Path) -> None:
    keep(folder / "rates.json", RATES)
    page.main()
    once = {path: path.read_text() for path in (page.PAGE, *page.plots())}

    page.main()

    assert {path: path.read_text() for path in (page.PAGE, *page.plots())} == once
