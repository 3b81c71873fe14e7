"""A short chaos run proves the numbers exact, and proves them wrong on a table without versions."""

import json
from pathlib import Path
from typing import Any

import pytest

import chaos
from clickhouse_server import INIT_SQL, ClickHouse
from faults import COMPONENTS
from rules import REASONS
from stack import Stack

pytestmark = pytest.mark.services

# Seeds that found a bug, and which.
FOUND = {
    "the job died of its report on a batch that it ran again after a crash": {
        "SEED": "1",
        "FAULTS": str(len(COMPONENTS)),  # one of each
    },
    "of two different repeats in two partitions, either may be the first": {
        "SEED": "5",
        "FAULTS": "4",  # they hit the executor and the driver, which have the order ids
        "DEDUPLICATE_ORDERS": "true",
    },
}


def result_of(seed: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((chaos.RESULTS / f"seed-{seed}.json").read_text())
    return result


@pytest.mark.parametrize("settings", FOUND.values(), ids=FOUND)
def test_a_short_run_is_equal(monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert chaos.main() == 0
    result = result_of(settings["SEED"])
    assert len(result["hits"]) == int(settings["FAULTS"])  # a component is hit again after all are
    assert {"valid", "late", *REASONS} <= set(result["records"])


def create_table_without_versions(stack: Stack) -> None:
    """The stack finds this table at its first start, and then keeps it (`IF NOT EXISTS`)."""
    sql = INIT_SQL.read_text()
    plain = sql.replace("ReplacingMergeTree(total_orders)", "MergeTree")
    assert plain != sql
    stack.directory.mkdir(parents=True)
    init_sql = stack.directory / "plain.sql"
    init_sql.write_text(plain)
    clickhouse = ClickHouse(stack, init_sql)
    try:
        clickhouse.start()
        assert clickhouse.query("SELECT count() FROM aggregated_analytics") == [(0,)]
    finally:
        clickhouse.stop()


def test_a_run_on_a_table_without_versions_is_not_equal(tmp_path: Path) -> None:
    stack = Stack.on_free_ports(tmp_path / "stack")
    create_table_without_versions(stack)
    try:
        assert chaos.run(stack, chaos.Settings(seed=0, faults=1)) == 1
    finally:
        stack.down()
    wrong = "\n".join(result_of("0")["wrong"])
    assert "appears 2 times" in wrong  # the reader saw it
    assert "duplicate " in wrong  # so did the recomputation
