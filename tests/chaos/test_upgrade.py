"""Upgrades and downgrades, in which order, and a short run of them."""

import json
import random
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

import chaos
from scenarios.release import VERSION, missing
from scenarios.upgrade import EVERYTHING, SINGLE, TODAY, upgrade_schedule
from stack import Stack


def faults_of(seed: int, number: int = 16) -> list[str]:
    return [str(fault) for fault in islice(upgrade_schedule(random.Random(seed)), number)]


def test_the_same_seed_changes_the_same_versions() -> None:
    assert faults_of(seed=7) == faults_of(seed=7)
    assert len({tuple(faults_of(seed)) for seed in range(9)}) > 1


@pytest.mark.parametrize("seed", range(9))
def test_8_changes_downgrade_and_upgrade_each_service_and_everything(seed: int) -> None:
    kinds = ("downgrade", "upgrade")
    wanted = Counter(f"{kind} {name}" for kind in kinds for name in (EVERYTHING, *SINGLE))
    assert Counter(faults_of(seed, 8)) == wanted


@pytest.mark.parametrize("seed", range(9))
def test_everything_changes_only_while_no_single_service_is_old(seed: int) -> None:
    old: set[str] = set()
    for fault in faults_of(seed):
        kind, name = fault.split()
        if name == EVERYTHING:
            assert not old & set(SINGLE)
        old = old | {name} if kind == "downgrade" else old - {name}


@pytest.mark.services
def test_a_run_with_the_previous_release_is_equal(tmp_path: Path) -> None:
    if problem := missing():
        pytest.skip(problem)
    stack = Stack.on_free_ports(tmp_path / "stack")
    # Seed 0 begins with two single services.
    settings = chaos.Settings(scenario="upgrade", seed=0, faults=5)
    assert chaos.run(stack, settings) == 0
    result = json.loads((chaos.RESULTS / "upgrade-seed-0.json").read_text())
    versions = [set(fault["versions"].values()) for fault in result["faults"]]
    assert {VERSION, TODAY} in versions
    assert {VERSION} in versions
