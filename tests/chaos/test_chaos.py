"""A short chaos run must be green, and red as soon as the table protects nothing."""

import json
import os
import random
import socket
import subprocess
from collections import Counter
from itertools import islice
from math import ceil
from pathlib import Path

import pytest

import chaos
import summary
from doctor import is_free
from faults import COMPONENTS, schedule
from oracle import REASONS
from stack import PROJECT, TOOLS, Stack, wait_for

LIBRARY = TOOLS / "clickhouse" / "libchdb.so"
LOCAL = PROJECT / "local-stack" / "clickhouse"


def test_a_seed_decides_and_every_component_gets_its_share() -> None:
    faults = list(islice(schedule(random.Random(7)), 48))
    assert faults == list(islice(schedule(random.Random(7)), 48))
    assert faults != list(islice(schedule(random.Random(8)), 48))
    alone = Counter((fault.kind, fault.components) for fault in faults[:24])
    assert all(alone[kind, (name,)] == 1 for name in COMPONENTS for kind in ("kill", "freeze"))
    assert {name for fault in faults[:10] for name in fault.components} == set(COMPONENTS)


def test_the_readme_has_the_results() -> None:
    runs = summary.runs()
    assert {run["verdict"] for run in runs} == {"equal"}
    assert summary.with_tables(summary.README.read_text(), runs) == summary.README.read_text()
    faults = [fault for run in runs for fault in run["faults"]]
    killed = [fault["recovery_sec"] for fault in faults if fault["kind"] == "kill"]
    readme = " ".join((PROJECT / "README.md").read_text().split())
    assert f", {len(faults)} faults, every verdict `equal`" in readme
    assert f"made up for in {round(min(killed))} to {ceil(max(killed))} s" in readme


# Seeds that found something, and what it was.
FOUND = {
    "the job died of its report on a batch that it ran again after a crash": {"SEED": "1"},
    "which is the first of two repeats that differ, in two partitions, nobody can say": {
        "SEED": "5",
        "DEDUPLICATE_ORDERS": "true",
    },
}


@pytest.mark.parametrize("settings", FOUND.values(), ids=FOUND)
def test_a_short_run_is_green(settings: dict[str, str]) -> None:
    assert chaos.main({**settings, "FAULTS": str(len(COMPONENTS))}) == 0
    result = json.loads((chaos.RESULTS / f"seed-{settings['SEED']}.json").read_text())
    assert set(result["hits"]) == set(COMPONENTS)
    assert {"valid", "late", *REASONS} <= set(result["records"])


def create_plain_table(stack: Stack) -> None:
    """Before its first start, so that its own `CREATE TABLE IF NOT EXISTS` finds it there."""
    sql = (PROJECT / "clickhouse-init" / "init.sql").read_text()
    plain = sql.replace("ReplacingMergeTree(total_orders)", "MergeTree")
    assert plain != sql
    stack.directory.mkdir(parents=True)
    (stack.directory / "plain.sql").write_text(plain)
    server = subprocess.Popen(
        [chaos.PYTHON, LOCAL / "server.py", LIBRARY, LOCAL / "config.xml", "plain.sql"],
        cwd=stack.directory,
        env={**os.environ, **stack.environment()},
    )
    try:
        wait_for(lambda: not is_free(stack.clickhouse_http_port), 60, "ClickHouse does not listen")
        socket.create_connection(("127.0.0.1", stack.clickhouse_http_port)).close()
    finally:
        server.terminate()
        server.wait(timeout=60)


def test_without_the_version_of_a_row_the_run_is_red(tmp_path: Path) -> None:
    stack = Stack.on_free_ports(tmp_path / "stack")
    create_plain_table(stack)
    try:
        assert chaos.run(stack, seed=0, faults=1, minutes=0, rate=200, deduplicate=False) == 1
    finally:
        stack.down()
    wrong = "\n".join(json.loads((chaos.RESULTS / "seed-0.json").read_text())["wrong"])
    assert "appears 2 times" in wrong  # what the reader saw
    assert "duplicate " in wrong  # and the oracle
