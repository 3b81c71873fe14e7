"""The tables of README.md, from the runs whose results are in results/.

Cog inserts them: see `make docs`. It runs this file with nothing but Python's standard library.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from faults import COMPONENTS

RESULTS = Path(__file__).parent / "results"
SCENARIOS = ("power", "disk", "network", "clocks", "damage", "upgrade", "soak")


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


def scenarios_table() -> str:
    """One row per scenario: its runs, and the recovery from all of their faults."""
    header = ["scenario", "seeds", "faults", "minutes", "raw records", "verdict"]
    return table(
        [*header, "recovery: median, worst"],
        (scenario_row(name, runs(f"{name}-")) for name in SCENARIOS),
    )


def scenario_row(name: str, runs: Sequence[dict[str, Any]]) -> list[object]:
    faults = [fault for run in runs for fault in run["faults"]]
    return [
        name,
        ", ".join(str(run["seed"]) for run in runs),
        len(faults),
        f"{sum(run['minutes'] for run in runs):.0f}",
        f"{sum(run['raw_records'] for run in runs):,}",
        " and ".join(sorted({run["verdict"] for run in runs})),
        in_seconds([fault["recovery_sec"] for fault in faults]),
    ]


def worst_table(prefix: str) -> str:
    """What was hit, by kind of fault: the longest recovery in seconds, and how many there were."""
    times: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for fault in all_faults(prefix):
        times[" and ".join(fault["components"]), fault["kind"]].append(fault["recovery_sec"])
    kinds = sorted({kind for _, kind in times})
    return table(
        ["", *kinds],
        (
            [name, *(worst(times[name, kind]) for kind in kinds)]
            for name in sorted({name for name, _ in times})
        ),
    )


def worst(times: list[float]) -> str:
    return f"{max(times):.1f} ({len(times)})" if times else ""


def recovery_times() -> defaultdict[str, list[float]]:
    """Seconds to recover, by kind and components."""
    times: defaultdict[str, list[float]] = defaultdict(list)
    for fault in all_faults():
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
