"""Wrong clocks: the order of the faults, and a short run."""

from itertools import islice
from pathlib import Path

import pytest

import chaos
from faults import Fault
from scenarios.clocks import COMPONENTS, KINDS, ClocksRun, clocks_schedule
from stack import Stack


def faults_of(seed: int, number: int = 8) -> list[Fault]:
    return list(islice(clocks_schedule(seed), number))


def test_the_seed_decides_the_faults() -> None:
    assert faults_of(seed=3) == faults_of(seed=3)
    assert faults_of(seed=3) != faults_of(seed=4)


def test_8_faults_of_each_of_five_seeds_set_every_clock_wrong_in_every_way() -> None:
    every = {Fault(kind, (component,)) for kind in KINDS for component in COMPONENTS}
    assert {fault for seed in range(1, 6) for fault in faults_of(seed)} == every


@pytest.mark.services
@pytest.mark.skipif(ClocksRun.missing() != "", reason=ClocksRun.missing())
def test_the_table_is_exact_after_the_clocks_of_the_job_and_the_broker_were_wrong(
    tmp_path: Path,
) -> None:
    hit = ["jump behind job", "jump ahead broker"]
    assert [str(fault) for fault in faults_of(seed=0, number=2)] == hit
    stack = Stack.on_free_ports(tmp_path / "stack")
    assert chaos.run(stack, chaos.Settings(scenario="clocks", seed=0, faults=2)) == 0
