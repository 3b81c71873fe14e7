"""What a run on a cluster finds wrong, and what the committed results say."""

from types import SimpleNamespace
from typing import Any

import pytest

import cluster_summary
import summary
from cluster_faults import COMPONENTS
from prober import Acknowledgement, longest_write_gap, lost_or_repeated
from records import transaction

PROMISED_SEC = [  # fault, kind of gap, the longest that is allowed
    ("kill broker", "writes_gap_sec", 15),
    ("kill broker", "rows_gap_sec", 30),
    ("kill leader", "writes_gap_sec", 15),
    ("kill leader", "rows_gap_sec", 30),
    ("kill controller", "writes_gap_sec", 15),
    ("kill controller", "rows_gap_sec", 30),
    ("kill active-master", "rows_gap_sec", 60),
    ("kill clickhouse", "answers_gap_sec", 3),
]


ORDERS = [f"probe-{n}" for n in range(1, 7)]
ACKNOWLEDGED = [Acknowledgement(float(n), n % 3, ORDERS[n - 1]) for n in range(1, 7)]


def raw_topic(*order_ids: str) -> Any:
    values = [transaction(order_id=each) for each in order_ids]
    return SimpleNamespace(read_new=lambda: [SimpleNamespace(value=value) for value in values])


def test_every_acknowledged_order_must_be_in_the_topic_once() -> None:
    assert lost_or_repeated(ACKNOWLEDGED, raw_topic("another", *ORDERS, "probe-7")) == []
    assert lost_or_repeated(ACKNOWLEDGED, raw_topic("probe-1", *ORDERS[:-1])) == [
        "acknowledged order probe-1 is 2 times in the topic",
        "acknowledged order probe-6 is 0 times in the topic",
    ]


def test_the_gap_in_writes_is_that_of_the_worst_partition() -> None:
    assert longest_write_gap(ACKNOWLEDGED, 0.5, 7.5) == 3.5  # the last one of partition 1 was at 4


def test_the_committed_runs_are_equal() -> None:
    assert [run["verdict"] for run in summary.runs("cluster-")] == ["equal"] * 3


def test_the_committed_runs_hit_every_component_four_times() -> None:
    hits = cluster_summary.hits()
    assert min(hits[name].total() for name in COMPONENTS) >= 4


@pytest.mark.parametrize(("name", "gap", "longest_sec"), PROMISED_SEC)
def test_the_committed_runs_keep_what_is_promised(name: str, gap: str, longest_sec: int) -> None:
    runs = [run["gaps_sec"] for run in summary.runs("cluster-")]
    found = [gaps[name][gap] for gaps in runs if name in gaps]
    assert found
    assert max(found) < longest_sec
