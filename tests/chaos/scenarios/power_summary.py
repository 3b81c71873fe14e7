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
        done = ", ".join(f"{step} ({times})" for step, times in steps.most_common())
        lost = [cut["lost_records"] for cut in found if "lost_records" in cut]
        losses = span(lost) if lost else ""
        age = f"{max(cut['lost_sec'] for cut in found)} s" if any(lost) else ""
        settings = "safe" if is_safe else "default"
        rows.append([component, settings, len(found), losses, age, done])
    header = ["cut", "settings", "times", "Kafka lost records", "the oldest", "what had to be done"]
    return table(header, rows)


def costs_table() -> str:
    """One row per setting of Kafka: the medians of each run, from the slowest to the fastest."""
    costs = [run["flush_costs"] for run in runs("power-") if "flush_costs" in run]
    settings = list(costs[0]) if costs else []
    what = {
        "records_per_sec": "records per second, in batches",
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
    """The lowest and the highest value; fractions have three digits."""
    low, high = (
        f"{value:,}" if isinstance(value, int) else f"{float(f'{value:.3g}'):,g}"
        for value in (min(values), max(values))
    )
    return low if low == high else f"{low} to {high}"
