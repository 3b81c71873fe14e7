"""What the pipeline takes at 1,000 records per second: memory, disk, inserts."""

import re
import time
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from processes import processes, resident_mb
from results import Row
from testbed import Testbed

RATE = 1_000
DAY_SEC = 86_400
REPORT_SEC, REPORTS = 10, 6  # between the consumer's reports; the number of those to look at
REPORT_LINES = 100  # in which to look for them


def footprint(bed: Testbed) -> list[Row]:
    """Memory by process, and growth per day once old files go as fast as new ones come."""
    bed.run_whole_pipeline()
    disk, memory, inserts = list[dict[str, Used]](), list[dict[str, float]](), list[float]()
    with bed.producer(RATE) as producer:
        time.sleep(bed.sizes.settle_sec)
        disk.append(on_disk(bed))
        for _ in range(bed.sizes.runs):
            time.sleep(bed.sizes.footprint_sec)
            disk.append(on_disk(bed))
            memory.append({**memory_mb(bed), "producer": resident_mb([producer])})
            inserts.append(inserts_per_second(bed))
    rows = [Row(f"memory of {name}", [run[name] for run in memory], "MB") for name in memory[0]]
    rows.append(Row("memory in all", [sum(run.values()) for run in memory], "MB"))
    per_day = DAY_SEC / bed.sizes.footprint_sec
    for name, now in disk[-1].items():
        stretches = [(before[name], after[name]) for before, after in pairwise(disk)]
        grown = [(after.mb - before.mb) * per_day for before, after in stretches]
        more_files = [(after.files - before.files) * per_day for before, after in stretches]
        rows.append(Row(f"{name}, bytes", grown, "MB a day", note=f"{now.mb:.1f} MB now"))
        rows.append(Row(f"{name}, files", more_files, "a day", note=f"{now.files} now"))
    rows.append(Row("inserts", inserts, "a second", wanted="about 1"))
    return rows


def memory_mb(bed: Testbed) -> dict[str, float]:
    return {name: resident_mb(each) for name, each in processes(bed.stack).items()}


class Used(NamedTuple):
    mb: float
    files: int


def on_disk(bed: Testbed) -> dict[str, Used]:
    """Disk space by what is stored; ClickHouse has one table."""
    places = {
        "checkpoint": "checkpoint",
        "transactions_raw": "kafka/transactions_raw-*",
        "transactions_agg": "kafka/transactions_agg-*",
        "aggregated_analytics": "clickhouse/store",
    }
    return {name: used(bed.stack.directory.glob(glob)) for name, glob in places.items()}


def used(folders: Iterable[Path]) -> Used:
    """Disk blocks, not file lengths: Kafka's index files are mostly holes."""
    total, files = 0.0, 0
    for folder in folders:
        for path in folder.rglob("*"):
            try:
                total += path.stat().st_blocks * 512 if path.is_file() else 0
                files += path.is_file()
            except FileNotFoundError:  # Spark and ClickHouse delete files all the time
                continue
    return Used(total / 2**20, files)


def inserts_per_second(bed: Testbed) -> float:
    """From the consumer's last reports; 0 if there is none yet."""
    log = bed.stack.log_tail("clickhouse-consumer", REPORT_LINES)
    found = re.findall(r"rows in (\d+) inserts.*, lag ", log)[-REPORTS:]
    return sum(map(int, found)) / (REPORT_SEC * len(found)) if found else 0.0
