"""When a soak counts something as growth, and a short run of it."""

import json
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

import chaos
from faults import COMPONENTS
from scenarios import soak
from scenarios.soak import verdict_of
from scenarios.soak_samples import Sample, by_parts, growth, quantile
from stack import Stack
from verify import Snapshot, print_verdict
from windows import Difference, Expected, Row

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
ROW = Row(NOON, NOON + timedelta(minutes=1), Decimal(5), 2, Decimal("2.5"), "P1")


def memory(values: Iterable[float], is_warm: bool = True) -> list[Sample]:
    """One sample per minute."""
    return [
        Sample(minute, "memory_mb", "job", value, is_warm) for minute, value in enumerate(values)
    ]


def test_what_stays_flat_or_only_grows_at_first_is_no_growth() -> None:
    assert growth(memory([500] * 60)) == []
    assert growth(memory([100 + 20 * min(minute, 20) for minute in range(60)])) == []


def test_what_goes_on_growing_is_growth() -> None:
    (wrong,) = growth(memory([100 + 10 * minute for minute in range(60)]))
    assert wrong == "memory_mb of job grew from 395.0 to 595.0"


def test_a_process_that_has_just_started_is_not_compared() -> None:
    samples = memory([500] * 30) + memory([900] * 60, is_warm=False)[30:]
    assert growth(samples) == []


def test_each_sixth_of_a_run_has_its_median_and_its_most() -> None:
    parts = by_parts(memory(range(61)))
    assert parts["memory_mb"]["job"] == [4.5, 14.5, 24.5, 34.5, 44.5, 55]
    assert parts["most_memory_mb"]["job"] == [9, 19, 29, 39, 49, 60]


def test_delays_are_those_of_all_orders() -> None:
    seconds = Counter({0.4: 97, 0.9: 2, 30.0: 1})
    assert (quantile(seconds, 0.5), quantile(seconds, 0.99), quantile(seconds, 1)) == (0.4, 0.9, 30)
    assert quantile(Counter(), 0.5) is None


def test_the_verdict_of_verify_is_found_among_its_other_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def said(expected: dict[datetime, Row], differences: list[Difference]) -> str:
        snapshot = Snapshot(expected, [ROW], differences, [], NOON, left_out=3, gaps=1)
        print_verdict(snapshot, Expected(timedelta(minutes=10)))
        output = capsys.readouterr().out
        assert output.splitlines()[-1].startswith("left out: 3 windows")
        return verdict_of(output)

    counts = "1 windows, 0 transactions, 0 rejected"
    assert said({NOON: ROW}, []) == f"verified: {counts}, all equal"
    assert said({}, []) == "nothing to verify: 0 windows, 0 transactions, 0 rejected"
    fewer = ROW._replace(total_orders=1)
    wrong = Difference("wrong", NOON, "total_orders is 2, not 1")
    assert said({NOON: fewer}, [wrong]) == f"NOT equal: 1 differences in {counts}"


def test_a_verify_without_a_verdict_is_quoted_as_a_whole() -> None:
    assert verdict_of("ClickHouse does not answer: refused\n") == (
        "ClickHouse does not answer: refused"
    )
    assert verdict_of("") == "nothing"


@pytest.mark.services
def test_a_short_soak_is_equal_and_reports_every_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soak, "FAULT_EVERY_SEC", 30)
    stack = Stack.on_free_ports(tmp_path / "stack")
    settings = chaos.Settings(scenario="soak", seed=0, faults=3, rate=1000)
    assert chaos.run(stack, settings) == 0
    result = json.loads((chaos.RESULTS / "soak-seed-0.json").read_text())
    assert "all equal" in result["verify"]
    for needed in ("memory_mb", "open_files"):
        assert result["parts"][needed].keys() == {*COMPONENTS, "this test"}
        assert all(any(parts) for parts in result["parts"][needed].values())
    assert result["parts"]["disk_mb"]["kafka"][-1] > result["parts"]["disk_mb"]["kafka"][0]
    assert any(result["parts"]["p99_delay_sec"]["orders"])
