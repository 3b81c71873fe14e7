"""Write the tables of tests/chaos/README.md from the runs whose results are in tests/chaos/results.

After new runs: cp .local/chaos/seed-*.json tests/chaos/results/, then run this file.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from faults import COMPONENTS

HERE = Path(__file__).parent
README = HERE / "README.md"
MARK, END_MARK = "<!-- results -->", "<!-- end of results -->"


def runs() -> list[dict[str, Any]]:
    """What `make chaos` wrote, by seed."""
    return [json.loads(path.read_text()) for path in sorted((HERE / "results").glob("*.json"))]


def markdown(runs: Iterable[Mapping[str, Any]]) -> str:
    runs = list(runs)
    faults = [fault for run in runs for fault in run["faults"]]
    hits = Counter(name for fault in faults for name in fault["components"])
    times = defaultdict(list)  # recovery in seconds, by kind and components
    for fault in faults:
        times[fault["kind"], " and ".join(fault["components"])].append(fault["recovery_sec"])
    lines = ["| seed | when | minutes | faults | raw records | verdict |", "|" + " --- |" * 6]
    for run in runs:
        seed = f"{run['seed']}, with de-duplication" if run["deduplicate"] else run["seed"]
        cells = (seed, run["when"], run["minutes"], len(run["faults"]))
        lines.append(row(*cells, f"{run['raw_records']:,}", run["verdict"]))
    lines += ["", "| component | hits | killed: median, worst | frozen: median, worst |"]
    lines.append("|" + " --- |" * 4)
    for name in COMPONENTS:
        killed, frozen = (in_seconds(times.pop((kind, name), [])) for kind in ("kill", "freeze"))
        lines.append(row(name, hits[name], killed, frozen))
    lines += ["", "| other faults | times | median, worst |", "|" + " --- |" * 3]
    for (kind, names), seconds in sorted(times.items()):
        lines.append(row(f"{kind} {names}", len(seconds), in_seconds(seconds)))
    slowest = max(run["reader"]["worst_sec"] for run in runs)
    lines += ["", f"The slowest answer that the reader got from a running ClickHouse: {slowest} s."]
    return "\n".join(lines)


def row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def in_seconds(times: list[float]) -> str:
    return f"{median(times):.1f}, {max(times):.1f} s" if times else ""


def with_tables(text: str, runs: Iterable[Mapping[str, Any]]) -> str:
    """The README's text with the tables between the two marks replaced."""
    before, rest = text.split(MARK)
    _, after = rest.split(END_MARK)
    return f"{before}{MARK}\n{markdown(runs)}\n{END_MARK}{after}"


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text(), runs()))
