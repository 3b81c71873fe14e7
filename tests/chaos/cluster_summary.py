"""The tables of README.md about the runs on a cluster, as summary.py has those without one."""

from collections import Counter, defaultdict
from typing import Any

from cluster_faults import COMPONENTS
from gaps import GAPS, fault_name
from summary import in_seconds, runs, table


def all_faults() -> list[dict[str, Any]]:
    return [fault for run in runs("cluster-") for fault in run["faults"]]


def hits() -> defaultdict[str, Counter[str]]:
    """By component, how often each kind of fault hit it."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for fault in all_faults():
        for name in {*fault["components"], *fault["hit"]}:
            found[name][fault["kind"]] += 1
    return found


def components_table() -> str:
    """One row per component: how often each kind of fault hit it."""
    kinds = {"killed": "kill", "frozen": "freeze", "with others": "outage", "restarted": "restart"}
    found = hits()
    return table(
        ["component", *kinds],
        ([name, *(found[name][kind] for kind in kinds.values())] for name in COMPONENTS),
    )


def faults_table() -> str:
    """One row per kind of fault: how long until all recovered, and how long nothing happened."""
    faults: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for fault in all_faults():
        faults[fault_name(fault)].append(fault)
    return table(
        [
            *("fault", "times", "recovery: median, worst"),
            *("no write acknowledged", "no row stored", "no answer"),
        ],
        (
            [
                name,
                len(of_kind),
                in_seconds([fault["recovery_sec"] for fault in of_kind]),
                *(f"{max(fault[gap] for fault in of_kind)} s" for gap in GAPS),
            ]
            for name, of_kind in sorted(faults.items())
        ),
    )
