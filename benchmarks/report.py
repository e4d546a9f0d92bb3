"""What becomes of a benchmark's figures: tables in Markdown, and a JSON file that names the machine."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from config.logs import without_secrets

FOLDER = Path(__file__).parents[1] / "docs" / "performance"
GPU = "gpu"  # folder for what was measured on a machine with one
PACKAGES = ("django", "uvicorn", "psycopg", "torch", "diffusers")


@dataclass
class Table:
    """Figures under a title; cells are texts and numbers."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[Any]] = field(default_factory=list)

    def __str__(self) -> str:
        """Return the table in Markdown, the first column to the left and the others to the right."""
        rule = ["---", *["---:"] * (len(self.columns) - 1)]
        lines = [self.columns, rule, *(map(cell, row) for row in self.rows)]
        return f"**{self.title}**\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(value: Any) -> str:
    """Return a number with three significant digits, or as it is when it is whole."""
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def publish(name: str, tables: Iterable[Table], **facts: Any) -> Path:
    """Print the tables and the machine, and write both to docs/performance/NAME.json; `facts` say what was asked.

    On a machine with a GPU it is docs/performance/gpu/NAME.json. `python -m benchmarks.page` shows them.
    """
    tables, seen = list(tables), machine()
    print(*tables, machine_line(seen), sep="\n\n", flush=True)
    folder = FOLDER / GPU if seen["gpu"] else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    whole = {
        "command": without_secrets(f"python -m benchmarks.{name} {' '.join(sys.argv[1:])}".strip()),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": seen,
        **facts,
        "tables": [asdict(table) for table in tables],
    }
    path.write_text(json.dumps(whole, indent=1, default=str) + "\n")
    return path


def say(text: str) -> None:
    """Tell whoever waits how far it is."""
    print(f"{datetime.now():%H:%M:%S}  {text}", file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    """Return what the figures depend on; nothing that tells whose machine it is."""
    return {
        "cpu": processor(),
        "cores": cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "gpu": " + ".join(accelerators()) or None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: installed(name) for name in PACKAGES},
        "load": round(os.getloadavg()[0], 1),  # of the last minute, the benchmark's own included
    }


def machine_line(facts: dict[str, Any]) -> str:
    """Return the machine as a sentence for below a table."""
    gpu = f", {facts['gpu']}" if facts["gpu"] else ""
    return (
        f"{facts['cores']} cores of {facts['cpu']}, {facts['memory_gib']} GiB{gpu}; {facts['system']}, "
        f"Python {facts['python']}; load {facts['load']}"
    )


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def accelerators() -> list[str]:
    """Return the names of the GPUs, asked of their driver: PyTorch takes seconds to import."""
    try:
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        names = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.split("\n")
    except (OSError, subprocess.SubprocessError):
        return []
    return [name.strip() for name in names if name.strip()]


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def quantile(values: Iterable[float], share: float) -> float:
    """Return the smallest value that `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
