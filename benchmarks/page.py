"""Writes the figures of docs/performance/ into docs/performance.md, with plots: python -m benchmarks.page.

What stands between `<!-- figures of NAME -->` and `<!-- end of figures -->` is made of NAME.json, and of all files in
`gpu/` for the name `gpu`; the rest of the page stays as it is.
"""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.report import FOLDER, GPU, Table, cell, machine_line
from config.charts import Chart, lines

PAGE = FOLDER.parent / "performance.md"
FIGURES = re.compile(r"(?<=<!-- figures of )(\w+)( -->\n).*?(?=<!-- end of figures -->)", re.DOTALL)
NOT_RUN = "*Not run.*\n\n"
BARS = {  # benchmark → the column that is drawn, by a part of its name; of several the last one
    "engine": "images a second",
    "frameworks": "images a second",
    "overhead": "p50",
    "rates": "a second",
    "rows": "median, ms",
    "tails": "times alone",
    "workers": "images a second",
}
LINES = {"memory": "MiB of RSS"}  # benchmark → the columns that are drawn over the first one
COLORS = ("#2f6fb3", "#d1792b", "#5a9a4b", "#8a5fb0", "#b0404d")
WIDTH, LABELS, ROW, MARGIN = 760, 300, 26, 14  # of a drawing, in pixels
PLOT_WIDTH, PLOT_HEIGHT = 600, 200


def files() -> dict[Path, str]:
    """Return what the page and its plots should hold."""
    made: dict[Path, str] = {}

    def figures(match: re.Match[str]) -> str:
        name, end = match.groups()
        found = sorted((FOLDER / GPU).glob("*.json")) if name == GPU else [FOLDER / f"{name}.json"]
        parts = [section(path, made) for path in found if path.exists()]
        return name + end + "\n" + ("".join(parts) or NOT_RUN)

    made[PAGE] = FIGURES.sub(figures, PAGE.read_text())
    return made


def section(path: Path, made: dict[Path, str]) -> str:
    """Return the tables of a file, and add its plots to what is made."""
    found = json.loads(path.read_text())
    parts = []
    for number, each in enumerate(found["tables"], start=1):
        table = Table(**each)
        parts.append(str(table))
        if drawing := plot(path.stem, table):
            place = path.with_name(f"{path.stem}-{number}.svg")
            made[place] = drawing
            parts.append(f"![{table.title}]({place.relative_to(PAGE.parent)})")
    at = datetime.fromisoformat(found["at"])
    parts.append(f"`{found['command']}`, {at.day} {at:%B %Y}: {machine_line(found['machine'])}.")
    return "\n\n".join(parts) + "\n\n"


def plot(name: str, table: Table) -> str:
    """Return a drawing of a table as SVG, or nothing where there is nothing to see."""
    if drawn := columns(table, BARS.get(name))[-1:]:
        return bars(table, drawn[0])
    if drawn := columns(table, LINES.get(name)):
        unit = LINES[name]
        series = {table.columns[k].removesuffix(f", {unit}"): [row[k] for row in table.rows] for k in drawn}
        if len(table.rows) > 1 and all(is_number(value) for values in series.values() for value in values):
            labels = [cell(row[0]) for row in table.rows]
            return drawn_lines(lines(name, f"{table.title}; {unit}", labels, series, cell, ""))
    return ""


def columns(table: Table, part: str | None) -> list[int]:
    return [k for k, name in enumerate(table.columns) if k and part and part in name]


def is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def bars(table: Table, column: int) -> str:
    """Return a bar for each row that has a number."""
    rows = [(str(row[0]), row[column]) for row in table.rows if is_number(row[column])]
    most = max((value for _, value in rows), default=0) or 1
    room = WIDTH - LABELS - 90
    body = [text(MARGIN, 22, f"{table.columns[column]}: {table.title}", bold=True)]
    for k, (label, value) in enumerate(rows):
        y = 38 + ROW * k
        body += [
            text(LABELS - 8, y + 15, label, anchor="end"),
            f'<rect x="{LABELS}" y="{y}" width="{room * value / most:.1f}" height="{ROW - 6}" fill="{COLORS[0]}"/>',
            text(LABELS + room * value / most + 6, y + 15, cell(value)),
        ]
    return svg(table.title, 38 + ROW * len(rows) + MARGIN, body)


def drawn_lines(chart: Chart) -> str:
    """Return the lines of a chart, whose places are shares of 100, with its axes."""
    across, down, left, top = PLOT_WIDTH / 100, PLOT_HEIGHT / 100, 80, 60
    body = [text(MARGIN, 22, chart.title, bold=True)]
    for rule in chart.rules:
        y = top + down * rule.y
        body.append(f'<path d="M{left} {y:.1f}h{PLOT_WIDTH}" stroke="#ccc"/>')
        body.append(text(left - 8, y + 4, rule.label, anchor="end"))
    for column in chart.columns:
        body.append(text(left + across * column.middle, top + PLOT_HEIGHT + 18, column.label, anchor="middle"))
    for number, name in enumerate(chart.series):
        body.append(text(left + (WIDTH - left) / len(chart.series) * number, 44, name, color=COLORS[number]))
    for line in chart.lines:
        body.append(
            f'<path d="{line.path}" transform="translate({left} {top}) scale({across} {down})" fill="none" '
            f'stroke="{COLORS[line.series - 1]}" stroke-width="2" vector-effect="non-scaling-stroke"/>'
        )
    return svg(chart.title, top + PLOT_HEIGHT + 18 + MARGIN, body)


def text(x: float, y: float, words: str, anchor: str = "start", bold: bool = False, color: str = "#222") -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight} fill="{color}">{escape(words)}</text>'


def svg(title: str, height: float, body: Sequence[str]) -> str:
    inside = "\n".join(body)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
        f'font-family="sans-serif" font-size="13" role="img">\n<title>{escape(title)}</title>\n'
        f'<rect width="{WIDTH}" height="{height:.0f}" fill="#fff"/>\n{inside}\n</svg>\n'
    )


def plots() -> set[Path]:
    """Return the plots that are there."""
    return set(FOLDER.rglob("*.svg"))


def main() -> None:
    """Write the page and its plots, and remove plots that nothing shows any more."""
    made = files()
    for path in plots() - made.keys():
        path.unlink()
    for path, content in made.items():
        path.write_text(content)


if __name__ == "__main__":
    main()
