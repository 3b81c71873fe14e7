"""A short chaos run on a cluster: others take over, and the numbers are exact."""

import json

import pytest

import chaos
import cluster_run
from cluster_faults import fault

pytestmark = pytest.mark.services

FAULTS = (fault("kill", "leader"), fault("kill", "active-master"), fault("kill", "clickhouse"))


def test_a_cluster_loses_a_leader_a_master_and_a_clickhouse_and_is_equal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster_run, "cluster_schedule", lambda seed: iter(FAULTS))
    for name, value in {"CLUSTER": "1", "SEED": "0", "FAULTS": str(len(FAULTS))}.items():
        monkeypatch.setenv(name, value)
    assert chaos.main() == 0
    result = json.loads((chaos.RESULTS / "cluster-seed-0.json").read_text())
    broker, master, clickhouse = (fault["hit"] for fault in result["faults"])
    assert broker[0].startswith("broker")
    assert master[0].startswith("master")
    assert clickhouse == ["clickhouse"]
