"""How a chaos run is judged, and what the committed results say."""

import re
from collections import Counter
from datetime import datetime, timedelta
from math import ceil
from pathlib import Path
from unittest.mock import Mock

import pytest

import chaos_run
import summary
from chaos import SCENARIOS, Settings, load, main
from chaos_run import ChaosRun
from paths import PROJECT
from ports import SettingsError
from result import not_counted, recovery, verdict
from windows import Expected, Row


def test_a_run_without_contradictions_is_equal() -> None:
    assert verdict([], valid=200, faults=2) == "equal"


def test_a_run_with_a_contradiction_is_not_equal() -> None:
    assert verdict(["2026-11-01T12:00Z vanished"], valid=200, faults=2) == "NOT equal"


class Unsettled(ChaosRun):
    """A run whose consumer stays behind."""

    def __init__(self) -> None:
        self.stack, self.readers = Mock(), []

    def expected_rows(self) -> dict[datetime, Row]:
        return {}

    def consumer_lag(self) -> int:
        return 7


def test_a_run_that_does_not_settle_is_not_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chaos_run, "SETTLE_DEADLINE_SEC", 0.1)
    assert Unsettled().settle() == ["not settled: lag 7"]


@pytest.mark.parametrize("wrong", [[], ["2026-11-01T12:00Z vanished"]])
def test_a_run_with_too_few_orders_is_invalid(wrong: list[str]) -> None:
    assert verdict(wrong, valid=199, faults=2) == "invalid"


def test_records_and_orders_must_all_be_accounted_for() -> None:
    expected = Expected(timedelta(minutes=10), verdicts=Counter(valid=7, late=2))
    assert not_counted(expected, orders=7, raw_records=9) == []
    assert not_counted(expected, orders=6, raw_records=10) == [
        "7 valid records, 6 counted",
        "10 raw records, 9 accounted for",
    ]


def test_recovery_has_median_and_worst_per_kind_of_fault() -> None:
    done = [
        {"kind": "kill", "components": ("job",), "recovery_sec": seconds}
        for seconds in (20.0, 30.0, 22.0)
    ]
    done.append({"kind": "kill", "components": ("job", "broker"), "recovery_sec": 9.5})
    assert recovery(done) == {
        "kill job": {"faults": 3, "median": 22.0, "worst": 30.0},
        "kill job and broker": {"faults": 1, "median": 9.5, "worst": 9.5},
    }


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("SEED", "x", "SEED must be a whole number, not 'x'"),
        ("FAULTS", "-1", "FAULTS must be a whole number, not '-1'"),
        ("MINUTES", "1.5", "MINUTES must be a whole number, not '1.5'"),
        ("RATE", "fast", "RATE must be a whole number, not 'fast'"),
        ("DEDUPLICATE_ORDERS", "x", "DEDUPLICATE_ORDERS must be true or false, not 'x'"),
        (
            "SCENARIO",
            "cluster",
            f"SCENARIO must be one of {', '.join(SCENARIOS[1:])}, not 'cluster'",
        ),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, problem: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as error:
        load()
    assert str(error.value) == problem


def test_an_empty_setting_has_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(name.upper(), "")
    assert load() == Settings(seed=1, faults=24, minutes=0, rate=200, deduplicate_orders=False)


def test_a_cluster_refuses_a_scenario(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLUSTER", "1")
    monkeypatch.setenv("SCENARIO", "power")
    assert main() == 2
    assert capsys.readouterr().err == "CLUSTER=1 has no SCENARIO=power: unset one of them\n"


def test_the_committed_runs_are_equal_and_the_readme_says_so() -> None:
    assert {run["verdict"] for run in summary.runs()} == {"equal"}
    faults = summary.all_faults()
    killed = [fault["recovery_sec"] for fault in faults if fault["kind"] == "kill"]
    readme = " ".join((PROJECT / "README.md").read_text().split())
    assert f", {len(faults)} faults, every verdict `equal`" in readme
    assert f"recovers in {round(min(killed))} to {ceil(max(killed))} s" in readme


@pytest.mark.parametrize("scenario", summary.SCENARIOS)
def test_the_committed_runs_of_each_scenario_are_equal(scenario: str) -> None:
    assert {run["verdict"] for run in summary.runs(f"{scenario}-")} == {"equal"}


@pytest.mark.parametrize("file", sorted(summary.RESULTS.iterdir()), ids=lambda file: file.name)
def test_a_committed_result_names_no_folder_of_the_machine(file: Path) -> None:
    assert not re.findall(r"/(?:tmp|work|home|root)/.*", file.read_text())


def test_the_committed_results_have_the_recovery_of_their_faults() -> None:
    for run in summary.runs():
        assert recovery(run["faults"]) == run["recovery_sec"]
