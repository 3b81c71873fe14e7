"""The order of faults."""

import random
from collections import Counter
from itertools import islice

import pytest

from faults import COMPONENTS, NotRecovered, recovering, schedule
from waiting import eventually


def faults_of(seed: int, number: int = 48) -> list[object]:
    return list(islice(schedule(random.Random(seed)), number))


def test_the_same_seed_gives_the_same_faults() -> None:
    assert faults_of(seed=7) == faults_of(seed=7)
    assert faults_of(seed=7) != faults_of(seed=8)


def test_24_faults_kill_and_freeze_every_component_once() -> None:
    faults = islice(schedule(random.Random(7)), 24)
    alone = Counter((fault.kind, fault.components) for fault in faults if fault.kind != "join")
    wanted = {(kind, (name,)): 1 for name in COMPONENTS for kind in ("kill", "freeze")}
    assert {key: alone[key] for key in wanted} == wanted
    others = alone.keys() - wanted.keys()
    assert sorted(kind for kind, _ in others) == ["kill", "outage", "outage"]


def test_the_first_faults_hit_every_component() -> None:
    faults = islice(schedule(random.Random(7)), len(COMPONENTS))
    assert {name for fault in faults for name in fault.components} == set(COMPONENTS)


def test_a_deadline_that_has_passed_says_from_what_nothing_has_recovered() -> None:
    with pytest.raises(NotRecovered, match="not within 0 s: an answer"), recovering():
        eventually(lambda: None, "an answer", deadline_sec=0)
