"""The order of faults on a cluster."""

from collections import Counter
from itertools import islice

from cluster_faults import COMPONENTS, ROLES, TARGETS, cluster_schedule, instances
from faults import Fault

ROUND = 22


def faults_of(seed: int, number: int = ROUND) -> list[Fault]:
    return list(islice(cluster_schedule(seed), number))


def hit_by(fault: Fault) -> tuple[str, ...]:
    return COMPONENTS if fault.components == ("everything",) else fault.components


def test_the_same_seed_gives_the_same_faults() -> None:
    assert faults_of(seed=7, number=66) == faults_of(seed=7, number=66)
    assert faults_of(seed=7) != faults_of(seed=9)


def test_the_components_are_all_processes_of_a_cluster() -> None:
    assert len(COMPONENTS) == len(set(COMPONENTS)) == 20


def test_a_round_hits_every_component() -> None:
    for seed in range(4):
        assert {name for fault in faults_of(seed) for name in hit_by(fault)} >= set(COMPONENTS)


def test_22_faults_of_each_of_three_seeds_hit_every_component_four_times() -> None:
    hits = Counter(name for seed in (1, 2, 3) for each in faults_of(seed) for name in hit_by(each))
    assert min(hits[name] for name in COMPONENTS) >= 4


def test_44_faults_have_every_kind() -> None:
    for seed in range(4):
        faults = faults_of(seed, number=44)
        kinds = {(fault.kind, fault.components) for fault in faults}
        for kind in ("kill", "freeze"):
            targets = {*TARGETS, ("leader",), ("controller",), ("zookeeper-leader",)}
            assert {(kind, target) for target in targets} <= kinds
        assert ("restart", ("everything",)) in kinds
        (outage,) = [fault.components for fault in faults if fault.kind == "outage"]
        assert len(set(outage) & set(instances("broker"))) == 2


def test_every_special_fault_is_among_22_of_two_seeds() -> None:
    faults = [*faults_of(seed=1), *faults_of(seed=2)]
    kinds = {(fault.kind, name) for fault in faults for name in fault.components}
    assert kinds >= {(kind, role) for role in ROLES for kind in ("kill", "freeze")}
    assert ("restart", "everything") in kinds
    assert "outage" in {kind for kind, _ in kinds}
