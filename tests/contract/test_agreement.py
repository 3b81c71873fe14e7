"""The job (Spark) and verify/ (plain Python) share no code and must judge every record alike."""

import json
import os
import subprocess
import sys
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings

import records
from rules import REASONS, Rejected, judge

HERE = Path(__file__).resolve().parent
JOB = HERE.parents[1] / "spark-job"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
GENERATED = 1000


def judged_by_job(values: list[bytes | None]) -> list[object]:
    """What the job makes of each value: a reason, or the transaction that counts."""
    lines = ["-" if value is None else b64encode(value).decode() for value in values]
    result = subprocess.run(
        [sys.executable, HERE / "judge_with_job.py", records.ARRIVAL.isoformat(), "10 minutes"],
        env={**os.environ, "PYTHONPATH": str(JOB)},
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return [json.loads(line) for line in result.stdout.splitlines()]


def judged_by_rules(value: bytes | None) -> object:
    """What verify/ makes of a value, in the same form."""
    try:
        order_id, product_id, amount, event_time = judge(
            value, records.ARRIVAL, timedelta(minutes=10)
        )
    except Rejected as rejected:
        return str(rejected)
    micros = (event_time - EPOCH) // timedelta(microseconds=1)
    return [order_id, product_id, str(abs(amount)), micros]  # Spark has no -0.00


def generated() -> list[bytes | None]:
    values: list[bytes | None] = []

    @settings(max_examples=GENERATED, database=None, phases=[Phase.generate])
    @given(records.RECORDS)
    def collect(value: bytes) -> None:
        values.append(value)

    collect()
    return values


@pytest.fixture(scope="module")
def outcomes() -> dict[str, list[tuple[bytes | None, object]]]:
    """Values with the job's outcome, by where they come from; in one run, as a start takes long."""
    names = [path.stem for path in (records.EXAMPLES / "transactions_raw").glob("*.jsonl")]
    values = {
        "corpus": list(records.CORPUS),
        "examples": [v for name in names for v in records.examples(f"transactions_raw/{name}")],
        "generated": generated(),
    }
    found = iter(judged_by_job([value for each in values.values() for value in each]))
    return {source: [(value, next(found)) for value in each] for source, each in values.items()}


@pytest.mark.parametrize("source", ["corpus", "examples", "generated"])
def test_the_job_and_the_recomputation_judge_alike(
    outcomes: dict[str, list[tuple[bytes | None, object]]], source: str
) -> None:
    different = [
        (value and value[:300], outcome, wanted)
        for value, outcome in outcomes[source]
        if outcome != (wanted := judged_by_rules(value))
    ]
    assert not different


def test_corpus_and_generated_records_are_worth_comparing(
    outcomes: dict[str, list[tuple[bytes | None, object]]],
) -> None:
    for source in ("corpus", "generated"):
        found = [outcome for _, outcome in outcomes[source]]
        assert {each for each in found if isinstance(each, str)} == {*REASONS, "late"}
        assert sum(isinstance(each, list) for each in found) > len(found) / 20
