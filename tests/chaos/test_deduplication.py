"""A short chaos run with de-duplication, beside those of test_chaos.py, is exact."""

import json
from pathlib import Path

import pytest

import chaos
from stack import Stack

pytestmark = pytest.mark.services


def test_a_run_with_deduplication_is_equal(tmp_path: Path) -> None:
    # This seed once found that of two different repeats in two partitions, either may be the first.
    # Its faults hit the executor and the driver, which have the order ids.
    stack = Stack.on_free_ports(tmp_path / "stack")
    try:
        assert chaos.run(stack, chaos.Settings(seed=5, faults=4, deduplicate_orders=True)) == 0
    finally:
        stack.down()
    result = json.loads((chaos.RESULTS / "seed-5.json").read_text())
    assert len(result["hits"]) == 4
    assert result["records"]["repeated"] > 0
