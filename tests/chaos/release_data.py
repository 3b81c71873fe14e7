"""Data of the previous release, as it left them on disk, in releases/.

test_release_data.py starts today's stack on them. Run this to make them again after a release: see
"Release" in CONTRIBUTING.md. It starts the release, lets it count some records and stops it.
"""

import json
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from lag import wait_for_consumer, wait_for_job
from pipeline import Pipeline
from scenarios.release import VERSION, Release, missing
from stack import Stack

FILE = Path(__file__).parent / "releases" / f"{VERSION}.tar.xz"
FOLDERS = ("kafka", "zookeeper", "clickhouse", "checkpoint")
ROWS = "rows.json"  # what the table had
RECORDS = 5000
TOPICS = ("transactions_raw", "transactions_agg")


def rows_of(pipeline: Pipeline) -> list[list[str]]:
    """All rows of the table, as text, by window."""
    rows = pipeline.query("SELECT * FROM aggregated_analytics ORDER BY window_start")
    return [[str(value) for value in row] for row in rows]


def keep_records(pipeline: Pipeline) -> None:
    """Let Kafka keep all records: it would delete them when they are 48 hours old."""
    forever = {"retention.ms": "-1"}
    topics = [ConfigResource(ConfigResourceType.TOPIC, name, forever) for name in TOPICS]
    with KafkaAdminClient(bootstrap_servers=pipeline.bootstrap_servers) as admin:
        admin.alter_configs(topics)


def unpack(folder: Path) -> list[list[str]]:
    """Fill the folder of a stack with the data; returns the rows of its table."""
    with tarfile.open(FILE) as tar:
        tar.extractall(folder)
    rows: list[list[str]] = json.loads((folder / ROWS).read_text())
    return rows


def make(folder: Path) -> None:
    """Let the release write its data below this folder, and pack them. Raises StackError."""
    stack = Stack.on_free_ports(folder / "stack")
    release = Release(stack)
    release.unpack()
    release.up()
    try:
        pipeline = Pipeline(stack)
        keep_records(pipeline)
        release.produce(RECORDS)
        wait_for_job(pipeline)
        wait_for_consumer(pipeline)
        rows = rows_of(pipeline)
    finally:
        release.down()
    (stack.directory / ROWS).write_text(json.dumps(rows))
    pack(stack.directory, (*FOLDERS, ROWS))


def pack(directory: Path, names: Sequence[str]) -> None:
    FILE.parent.mkdir(exist_ok=True)
    with tarfile.open(FILE, "w:xz") as tar:
        for name in names:
            tar.add(directory / name, name)


def main() -> int:
    if problem := missing():
        print(problem, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
    print(f"{FILE}: {FILE.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
