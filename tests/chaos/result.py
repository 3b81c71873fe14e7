"""What a run has found: its verdict, and how long the pipeline took to recover."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any

import metrics_check
from chaos_run import ChaosRun, say
from reader import answer_times
from windows import Expected

EXIT_CODES = {"equal": 0, "NOT equal": 1, "invalid": 2}
MIN_ORDERS_PER_FAULT = 100


def result(run: ChaosRun, differences: Sequence[str]) -> dict[str, Any]:
    """The result of a run that has settled with these differences, ready for JSON."""
    expected, raw_records = run.expected, run.raw.size()
    wrong = [
        *(
            f"{reader.component}: {line}"
            for reader in run.readers
            for line in (
                *sorted(set(reader.contradictions)),
                *not_counted(expected, sum(reader.orders.values()) - run.lost_orders, raw_records),
            )
        ),
        *differences,
        *metrics_check.contradictions(run.stack, run.judged),
    ]
    return {
        "when": datetime.now(UTC).isoformat(timespec="minutes"),
        "seed": run.seed,
        "verdict": verdict(wrong, expected.verdicts["valid"], len(run.done)),
        "wrong": wrong,
        "deduplicate": expected.deduplicate,
        "minutes": round((time.monotonic() - run.start) / 60, 1),
        "raw_records": expected.verdicts.total(),
        "windows": len(expected.windows),
        "records": dict(sorted(expected.verdicts.items())),
        "reader": answer_times([sec for reader in run.readers for sec in reader.answers_sec]),
        "hits": dict(Counter(name for fault in run.done for name in fault["components"])),
        "recovery_sec": recovery(run.done),
        "faults": run.done,
    }


def not_counted(expected: Expected, orders: int, raw_records: int) -> list[str]:
    """What is wrong with the number of orders in the table, and of records in the raw topic."""
    wrong = []
    if orders != expected.verdicts["valid"]:
        wrong.append(f"{expected.verdicts['valid']} valid records, {orders} counted")
    if raw_records != expected.verdicts.total():
        wrong.append(f"{raw_records} raw records, {expected.verdicts.total()} accounted for")
    return wrong


def verdict(wrong: Sequence[str], valid: int, faults: int) -> str:
    """equal, NOT equal, or invalid: too few valid records to prove anything."""
    if valid < MIN_ORDERS_PER_FAULT * max(faults, 1):
        return "invalid"
    return "NOT equal" if wrong else "equal"


def recovery(done: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Median and worst seconds from the end of a fault, by kind and components."""
    times: dict[str, list[float]] = {}
    for fault in done:
        name = f"{fault['kind']} {' and '.join(fault['components'])}"
        times.setdefault(name, []).append(fault["recovery_sec"])
    return {
        name: {"faults": len(all_sec), "median": round(median(all_sec), 1), "worst": max(all_sec)}
        for name, all_sec in sorted(times.items())
    }


def show(result: Mapping[str, Any]) -> None:
    """Print a result for a person; the verdict comes last."""
    say("\nrecovery in seconds: faults, median, worst")
    for name, each in result["recovery_sec"].items():
        say(f"  {name:<32} {each['faults']:3} {each['median']:6} {each['worst']:6}")
    for line in result["wrong"][:50]:
        say(f"  {line}")
    counts = ", ".join(f"{name} {count}" for name, count in result["records"].items())
    say(f"{result['raw_records']} raw records = {counts}; {result['windows']} windows")
    say(f"reader: {result['reader']}")
    say(f"seed {result['seed']}, {len(result['faults'])} faults: {result['verdict']}")
