"""The tables of README.md, from the runs whose results are in results/.

Cog inserts them: see `make docs`. It runs this file with nothing but Python's standard library.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from faults import COMPONENTS

RESULTS = Path(__file__).parent / "results"


def runs(prefix: str = "") -> list[dict[str, Any]]:
    """What `make chaos` wrote, by seed; with the prefix "power-", what SCENARIO=power wrote."""
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob(f"{prefix}seed-*.json"))]


def all_faults(prefix: str = "") -> list[dict[str, Any]]:
    return [fault for run in runs(prefix) for fault in run["faults"]]


def runs_table(prefix: str = "") -> str:
    """One row per run."""
    return table(
        ["seed", "when", "minutes", "faults", "raw records", "verdict"],
        (
            [
                f"{run['seed']}, with de-duplication" if run["deduplicate"] else run["seed"],
                run["when"],
                run["minutes"],
                len(run["faults"]),
                f"{run['raw_records']:,}",
                run["verdict"],
            ]
            for run in runs(prefix)
        ),
    )


def components_table() -> str:
    """One row per component: how often a fault hit it, and the recovery from those of it alone."""
    faults = Counter(name for fault in all_faults() for name in fault["components"])
    times = recovery_times()
    return table(
        ["component", "faults", "killed: median, worst", "frozen: median, worst"],
        (
            [
                name,
                faults[name],
                in_seconds(times[f"kill {name}"]),
                in_seconds(times[f"freeze {name}"]),
            ]
            for name in COMPONENTS
        ),
    )


def other_faults_table() -> str:
    """One row per fault that is not in the table of components."""
    alone = {f"{kind} {name}" for kind in ("kill", "freeze") for name in COMPONENTS}
    return table(
        ["other faults", "times", "median, worst"],
        (
            [name, len(seconds), in_seconds(seconds)]
            for name, seconds in sorted(recovery_times().items())
            if name not in alone
        ),
    )


def scenario_table(prefix: str) -> str:
    """One row per fault of a scenario."""
    return table(
        ["fault", "times", "recovery: median, worst"],
        (
            [name, len(seconds), in_seconds(seconds)]
            for name, seconds in sorted(recovery_times(prefix).items())
        ),
    )


def recovery_times(prefix: str = "") -> defaultdict[str, list[float]]:
    """Seconds to recover, by kind and components."""
    times: defaultdict[str, list[float]] = defaultdict(list)
    for fault in all_faults(prefix):
        name = f"{fault['kind']} {' and '.join(fault['components'])}"
        times[name].append(fault["recovery_sec"])
    return times


def slowest_answer() -> str:
    slowest = max(run["reader"]["worst_sec"] for run in runs())
    return f"The slowest answer that the reader got from a running ClickHouse took {slowest} s."


def in_seconds(times: list[float]) -> str:
    return f"{median(times):.1f}, {max(times):.1f} s" if times else ""


def table(header: list[str], rows: Iterable[list[object]]) -> str:
    texts = [header, ["---"] * len(header), *([str(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in texts)
