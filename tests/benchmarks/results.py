"""What the benchmark found: rows of figures, as a table, as JSON, and as Markdown."""

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

HEADINGS = ("what", "figure", "bare", "ratio", "wanted", "runs")
MARK, END_MARK = "<!-- figures -->", "<!-- end of figures -->"


@dataclass
class Row:
    """One figure, the median of its runs; `bare` is the engine alone in the same run."""

    what: str
    runs: list[float]
    unit: str = ""
    bare_runs: list[float] = field(default_factory=list)
    wanted: str = ""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """The median of the ratios: each run beside the bare one next to it."""
        if not self.bare_runs:
            return None
        return median(ours / bare for ours, bare in zip(self.runs, self.bare_runs, strict=True))

    def cells(self) -> list[str]:
        return [
            self.what,
            f"{number(median(self.runs))} {self.unit}".strip(),
            number(median(self.bare_runs)) if self.bare_runs else "",
            f"{self.ratio:.2f}" if self.ratio is not None else "",
            self.wanted,
            self.note or (str(len(self.runs)) if len(self.runs) > 1 else ""),
        ]


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def machine() -> dict[str, Any]:
    """What the figures depend on; the load says whether the machine was quiet."""
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "load_1_min": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


class Results:
    """The latest results of each part, kept in a JSON file; parts not run again stay."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parts: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def add(self, part: str, rows: Iterable[Row], seconds: float, size: str) -> None:
        self.parts[part] = {
            "when": f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}",
            "size": size,
            "seconds": round(seconds),
            "machine": machine(),
            "rows": [{**asdict(row), "ratio": row.ratio} for row in rows],
        }
        self.save()

    def save(self, order: Sequence[str] = ()) -> None:
        self.parts = {name: self.parts[name] for name in order or self.parts if name in self.parts}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.parts, indent=1) + "\n")

    def show(self, parts: Iterable[str]) -> None:
        for part in parts:
            print_table(part, self.parts[part])

    def write_into(self, readme: Path) -> None:
        """Replace the figures between the two marks."""
        before, rest = readme.read_text().split(MARK)
        _, after = rest.split(END_MARK)
        readme.write_text(f"{before}{MARK}\n{markdown(self.parts)}\n{END_MARK}{after}")


def rows_of(part: Mapping[str, Any]) -> list[list[str]]:
    return [
        Row(**{name: each[name] for name in each if name != "ratio"}).cells()
        for each in part["rows"]
    ]


def caption(part: Mapping[str, Any]) -> str:
    on = part["machine"]
    return (
        f"{part['size']} size, {part['when']}, {part['seconds']} s, {on['cores']} cores,"
        f" {on['memory_gb']} GB, load {on['load_1_min']}"
    )


def print_table(name: str, part: Mapping[str, Any]) -> None:
    table = Table(title=name, title_justify="left", caption=caption(part), min_width=76)
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in ("what", "wanted") else "right")
    for cells in rows_of(part):
        table.add_row(*cells)
    console = Console()
    console = console if console.is_terminal else Console(width=140)
    console.print(table)


def markdown(parts: Mapping[str, Any]) -> str:
    lines = []
    for name, part in parts.items():
        lines += [f"\n### {name}\n", f"{caption(part)}\n"]
        lines += ["| " + " | ".join(HEADINGS) + " |", "|" + " --- |" * len(HEADINGS)]
        lines += ["| " + " | ".join(cells) + " |" for cells in rows_of(part)]
    return "\n".join(lines)
