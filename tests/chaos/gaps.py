"""How long nothing happened: the longest times without a write or a stored row."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

# In acknowledged writes, in stored rows, and in the answers of ClickHouse.
GAPS = ("writes_gap_sec", "rows_gap_sec", "answers_gap_sec")


def longest_gap(moments: Iterable[float], begin: float, end: float) -> float:
    """The longest time between two of these moments, or the ends of the interval."""
    inside = [each for each in moments if begin < each < end]
    return max(after - before for before, after in pairwise([begin, *inside, end]))


def fault_name(fault: Mapping[str, Any]) -> str:
    """What a fault is, whichever instances it hits: "kill broker", "kill 2 consumers"."""
    kinds = Counter(re.sub(r"-[0-9]+$", "", name) for name in fault["components"])
    names = (name if number == 1 else f"{number} {name}s" for name, number in kinds.items())
    return f"{fault['kind']} {' and '.join(names)}"


def worst_gaps(done: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """The longest of each kind of gap, by kind of fault."""
    worst: dict[str, dict[str, float]] = {}
    for fault in done:
        gaps = worst.setdefault(fault_name(fault), dict.fromkeys(GAPS, 0.0))
        for name in GAPS:
            gaps[name] = max(gaps[name], fault[name])
    return dict(sorted(worst.items()))


def show_gaps(worst: Mapping[str, Mapping[str, float]]) -> None:
    """Print them for a person."""
    print("\nlongest gap in seconds: acknowledged writes, stored rows, answers of ClickHouse")
    for name, gaps in worst.items():
        print(f"  {name:<32} {' '.join(f'{gaps[each]:6.1f}' for each in GAPS)}", flush=True)
