"""The faults of `SCENARIO=network`, and a short run with the two that endanger the numbers most."""

import json
from itertools import islice
from pathlib import Path

import pytest

import chaos
from chaos_run import RECOVERY_DEADLINE_SEC
from faults import Fault
from scenarios import links, network
from scenarios.network import ANSWERS, CUT, KINDS, REQUESTS, RESET, SLOW, schedule
from stack import Stack

ROUND = 8
ROUNDS = len(KINDS)
CUT_SEC = 15  # longer than the clients wait for an answer


def test_the_same_seed_gives_the_same_faults() -> None:
    assert list(islice(schedule(7), 48)) == list(islice(schedule(7), 48))
    assert list(islice(schedule(7), 48)) != list(islice(schedule(8), 48))


@pytest.mark.parametrize("first", [1, 2])
def test_five_rounds_have_every_kind_of_fault_on_every_link(first: int) -> None:
    faults = [
        fault for seed in range(first, first + ROUNDS) for fault in islice(schedule(seed), ROUND)
    ]
    for link in links.LINKS:
        kinds = [fault.kind for fault in faults if link in fault.components]
        assert kinds.count(CUT) == 1
        assert kinds.count(REQUESTS) == kinds.count(ANSWERS) == 2
        assert kinds.count(SLOW) >= 2
        assert kinds.count(RESET) >= 2


@pytest.mark.services
@pytest.mark.skipif(bool(reason := links.missing()), reason=reason)
def test_lost_answers_and_resets_neither_lose_nor_double_an_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = ("producer-broker", "consumer-clickhouse")
    faults = (Fault(ANSWERS, pair, CUT_SEC), Fault(RESET, pair))
    monkeypatch.setattr(network, "RECOVERY_SEC", RECOVERY_DEADLINE_SEC)  # on any machine
    monkeypatch.setattr(network, "schedule", lambda seed: iter(faults))
    stack = Stack.on_free_ports(tmp_path / "stack")
    settings = chaos.Settings(scenario="network", seed=0, faults=len(faults))
    assert chaos.run(stack, settings) == 0
    result = json.loads((chaos.RESULTS / "network-seed-0.json").read_text())
    assert result["resets"].keys() == set(pair)
    assert all(result["resets"].values())
