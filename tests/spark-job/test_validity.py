"""The verdict on each example of the contract. That the job and `verify/` agree on every record,
however strange, is tested in tests/contract."""

import json
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from frames import judged, raw
from records import EXAMPLES, examples
from settings import Settings
from stream_job import purchase_totals
from validity import FIELDS, LATE, PAYMENT_TYPES, REASONS

EXAMPLE_FILES = sorted(path.stem for path in (EXAMPLES / "transactions_raw").glob("*.jsonl"))
COUNTS = ("valid", "lenient")  # the second: what the job reads although the schema says otherwise


@pytest.fixture(scope="module")
def verdicts(spark: SparkSession) -> dict[str, dict[bytes, str | None]]:
    """The verdict on each line of each file of examples, all judged in one Spark job."""
    lines = [
        (name, line) for name in EXAMPLE_FILES for line in examples(f"transactions_raw/{name}")
    ]
    rows = judged(spark, [line for _, line in lines]).orderBy("offset").collect()
    found: dict[str, dict[bytes, str | None]] = {name: {} for name in EXAMPLE_FILES}
    for (name, line), row in zip(lines, rows, strict=True):
        found[name][line] = row.verdict
    return found


def test_each_verdict_has_examples() -> None:
    assert {*EXAMPLE_FILES} == {*COUNTS, *REASONS, LATE}


@pytest.mark.parametrize("name", EXAMPLE_FILES)
def test_each_example_gets_the_verdict_that_its_file_is_named_after(
    name: str, verdicts: dict[str, dict[bytes, str | None]]
) -> None:
    wanted = None if name in COUNTS else name
    assert verdicts[name]
    assert {line: verdict for line, verdict in verdicts[name].items() if verdict != wanted} == {}


def test_the_fields_and_payment_types_are_those_of_the_schema() -> None:
    path = Path(__file__).parents[2] / "contract" / "transactions_raw.schema.json"
    schema = json.loads(path.read_text())
    assert list(FIELDS) == schema["required"]
    assert list(PAYMENT_TYPES) == schema["properties"]["payment_type"]["enum"]


def test_the_json_of_a_record_is_read_once(
    spark: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    """And not once for each field, as it would be if the plan named `from_json` for each."""
    purchase_totals(raw(spark, []), Settings()).explain()

    assert capsys.readouterr().out.count("from_json(") == 1
