"""Short chaos runs prove the numbers exact, and prove them wrong on a table without versions."""

import json
from pathlib import Path
from typing import Any

import pytest

import chaos
import cluster_run
from clickhouse_server import INIT_SQL, ClickHouse
from cluster_faults import fault
from faults import COMPONENTS
from rules import REASONS
from stack import Stack

pytestmark = pytest.mark.services

# The executors and the driver have the order ids of de-duplication.
FAULTS_OF_CLUSTER = (
    fault("kill", "leader"),
    fault("kill", "active-master"),
    fault("kill", "clickhouse"),
    fault("kill", "executors"),
    fault("kill", "driver"),
)


def result_of(run: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((chaos.RESULTS / f"{run}.json").read_text())
    return result


def test_a_run_that_hits_each_component_is_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    # This seed once found that the job died of its report on a batch that ran again after a crash.
    monkeypatch.setenv("SEED", "1")
    monkeypatch.setenv("FAULTS", str(len(COMPONENTS)))
    assert chaos.main() == 0
    result = result_of("seed-1")
    assert len(result["hits"]) == len(COMPONENTS)
    assert {"valid", "late", *REASONS} <= set(result["records"])


def test_a_cluster_that_loses_servers_and_the_driver_is_equal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster_run, "NO_GAP_SEC", 15)  # on any machine
    monkeypatch.setattr(cluster_run, "cluster_schedule", lambda seed: iter(FAULTS_OF_CLUSTER))
    for name in ("CLUSTER", "DEDUPLICATE_ORDERS"):
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv("SEED", "0")
    monkeypatch.setenv("FAULTS", str(len(FAULTS_OF_CLUSTER)))
    assert chaos.main() == 0
    result = result_of("cluster-seed-0")
    broker, master, clickhouse, *_ = (fault["hit"] for fault in result["faults"])
    assert broker[0].startswith("broker")
    assert master[0].startswith("master")
    assert clickhouse == ["clickhouse"]
    assert result["records"]["repeated"] > 0


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
    wrong = "\n".join(result_of("seed-0")["wrong"])
    assert "appears 2 times" in wrong  # the reader saw it
    assert "duplicate " in wrong  # so did the recomputation
