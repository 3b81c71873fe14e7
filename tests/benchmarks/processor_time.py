"""What the pipeline takes of the processor while it has little to do, as most pipelines do."""

import time

from processes import cpu_seconds, processes
from results import Row
from testbed import Testbed

RATES = (100, 1_000)
BETWEEN_RATES_SEC = 5  # in which the records of the rate before are stored


def processor(bed: Testbed) -> list[Row]:
    """By process, at each rate in turns, once Java has compiled what runs all the time."""
    bed.run_whole_pipeline()
    shares: dict[int, list[dict[str, float]]] = {rate: [] for rate in RATES}
    with bed.producer(RATES[0]):
        time.sleep(bed.sizes.processor_warm_up_sec)
    for rate in RATES * bed.sizes.runs:
        with bed.producer(rate):
            time.sleep(BETWEEN_RATES_SEC)
            shares[rate].append(percent_of_a_core(bed))
    rows = []
    for rate, runs in shares.items():
        rows += [Row(f"{rate}/s, {name}", [run[name] for run in runs], "%") for name in runs[0]]
        rows.append(Row(f"{rate}/s, in all", [sum(run.values()) for run in runs], "%"))
    return rows


def percent_of_a_core(bed: Testbed) -> dict[str, float]:
    watched = processes(bed.stack)
    before = {name: cpu_seconds(each) for name, each in watched.items()}
    time.sleep(bed.sizes.processor_sec)
    spent = {name: cpu_seconds(each) - before[name] for name, each in watched.items()}
    return {name: 100 * seconds / bed.sizes.processor_sec for name, seconds in spent.items()}
