"""The tables of the long run in README.md; cog inserts them, see `make docs`."""

from typing import Any

from summary import runs, table

NEEDS = {
    "memory_mb": "memory of {} (MB)",
    "open_files": "open files of {}",
    "disk_mb": "disk of {} (MB)",
    "state_rows": "rows in the state of the {}",
    "delay_sec": "delay of {}: median (s)",
    "p99_delay_sec": "delay of {}: 99 of 100 (s)",
    "p99_answer_sec": "answers to the {}: 99 of 100 (s)",
}


def parts_table() -> str:
    """Of the longest run: one row per value that was sampled, one column per sixth of the run."""
    run = max(runs("soak-"), key=lambda run: float(run["minutes"]), default=None)
    if run is None:
        return ""
    minutes = run["part_minutes"]
    header = ["", *(f"until minute {number * minutes:.0f}" for number in range(1, 7))]
    return table(
        header,
        (
            [title.format(name), *map(shown, values)]
            for kind, title in NEEDS.items()
            for name, values in run["parts"][kind].items()
        ),
    )


def shown(value: Any) -> str:
    """Two digits behind the point, none for what is large."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 10 else f"{round(value, 2):g}"
