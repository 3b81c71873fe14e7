"""What power cuts have taken, from the runs whose results are in results/. Cog inserts it."""

from collections import Counter

from summary import runs, table


def losses_table() -> str:
    """One row per cut and kind of settings."""
    cuts = [
        (cut["components"][0], run["safe_settings"], cut)
        for run in runs("power-")
        for cut in run["faults"]
    ]
    rows = []
    for component, is_safe in sorted({cut[:2] for cut in cuts}, key=lambda pair: pair[::-1]):
        found = [cut for name, safe, cut in cuts if (name, safe) == (component, is_safe)]
        steps = Counter(" and ".join(cut["steps"]) or "nothing" for cut in found)
        done = ", ".join(f"{step} ({times} times)" for step, times in steps.most_common())
        lost = [cut["lost_records"] for cut in found if "lost_records" in cut]
        age_sec = max((cut.get("lost_sec", 0) for cut in found), default=0)
        losses = f"{min(lost):,} to {max(lost):,}" if lost else ""
        settings = "safe" if is_safe else "default"
        rows.append([component, settings, losses, f"{age_sec} s" if lost else "", done])
    header = ["cut", "settings", "records that Kafka lost", "the oldest was", "what had to be done"]
    return table(header, rows)


def costs_table() -> str:
    """One row per setting of Kafka: the medians of each run, from the slowest to the fastest."""
    costs = [run["flush_costs"] for run in runs("power-") if "flush_costs" in run]
    settings = list(costs[0]) if costs else []
    what = {
        "records_per_sec": "records/s, in batches",
        "cpu_us_per_record": "broker, µs of processor time per record",
        "ms_per_single_record": "ms until a single record is acknowledged",
        "cpu_ms_per_single_record": "broker, ms of processor time per single record",
    }
    rows = [
        [text, *(span([cost[setting][name] for cost in costs]) for setting in settings)]
        for name, text in what.items()
    ]
    return table(["", *settings], rows)


def span(values: list[float]) -> str:
    low, high = (f"{round(value, 2):,}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"
