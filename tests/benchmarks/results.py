"""What the benchmark found: rows of figures, kept as JSON and shown as text.

README.md shows the published results with `readme_table`, which cog calls. Therefore this file
imports the standard library only.
"""

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

PUBLISHED = Path(__file__).with_name("results.json")
HEADINGS = ("what", "figure", "bare", "ratio", "wanted", "runs")


@dataclass
class Row:
    """One figure, the median of its runs; `bare_runs` are the engine alone, run by run."""

    what: str
    runs: list[float]
    unit: str = ""
    bare_runs: list[float] = field(default_factory=list)
    wanted: str = ""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """The median of the ratios of each run to the bare run next to it."""
        if not self.bare_runs:
            return None
        return median(ours / bare for ours, bare in zip(self.runs, self.bare_runs, strict=True))

    def cells(self) -> list[str]:
        """One text for each of HEADINGS."""
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
    """What the figures depend on; the load shows whether other programs were running."""
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(memory_bytes / 2**30, 1),
        "load_1_min": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


class Results:
    """The latest results of each part, in a JSON file. A part that is not run again stays."""

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
        """Write the file, its parts in the given order."""
        self.parts = {name: self.parts[name] for name in order or self.parts if name in self.parts}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.parts, indent=1) + "\n")


def cells_of(part: Mapping[str, Any]) -> list[list[str]]:
    """The cells of each row of a part, as it is in the JSON file."""
    return [
        Row(**{name: row[name] for name in row if name != "ratio"}).cells() for row in part["rows"]
    ]


def caption(part: Mapping[str, Any]) -> str:
    """When, how and where a part was measured."""
    on = part["machine"]
    return (
        f"{part['size']} size, {part['when']}, {part['seconds']} s, {on['cores']} cores,"
        f" {on['memory_gb']} GB, load {on['load_1_min']}"
    )


def readme_table(name: str, path: Path = PUBLISHED) -> str:
    """The figures of one part as a Markdown table with its caption."""
    part = Results(path).parts[name]
    lines = ["", caption(part), ""]
    lines += ["| " + " | ".join(HEADINGS) + " |", "|" + " --- |" * len(HEADINGS)]
    lines += ["| " + " | ".join(cells) + " |" for cells in cells_of(part)]
    return "\n".join([*lines, ""])
