"""The consumer agrees with the contract, its examples, and the table."""

import json
import re
from pathlib import Path

import pytest

from message import InvalidMessage, Row, parse

PROJECT = Path(__file__).resolve().parents[2]
EXAMPLES = PROJECT / "contract" / "examples" / "transactions_agg"
SCHEMA = PROJECT / "contract" / "transactions_agg.schema.json"
TABLE_SCRIPT = PROJECT / "clickhouse-init" / "init.sql"


def examples(verdict: str) -> list[bytes]:
    """The lines of the file, each the value of one record."""
    return (EXAMPLES / f"{verdict}.jsonl").read_bytes().splitlines()


@pytest.mark.parametrize("value", examples("valid"))
def test_a_valid_example_is_read_as_it_is_written(value: bytes) -> None:
    found = parse(value)
    written = json.loads(value, parse_float=str, parse_int=str)
    assert {
        "window_start": f"{found.window_start:%Y-%m-%dT%H:%M:%SZ}",
        "window_end": f"{found.window_end:%Y-%m-%dT%H:%M:%SZ}",
        "total_sales": f"{found.total_sales:f}",
        "total_orders": str(found.total_orders),
        "average_order_value": f"{found.average_order_value:f}",
        "top_product": found.top_product,
    } == {
        **{name: written[name] for name in Row._fields},
        "total_sales": with_cents(written["total_sales"]),
        "average_order_value": with_cents(written["average_order_value"]),
    }


def with_cents(number: str) -> str:
    return number if "." in number else f"{number}.00"


def test_all_lenient_examples_are_read_as_the_same_window() -> None:
    found = {parse(value) for value in examples("lenient")}
    assert found == {parse(examples("valid")[1])}


@pytest.mark.parametrize("value", examples("invalid"))
def test_an_invalid_example_is_refused(value: bytes) -> None:
    with pytest.raises(InvalidMessage):
        parse(value)


def test_a_row_has_the_fields_that_the_schema_requires_in_order() -> None:
    assert list(Row._fields) == json.loads(SCHEMA.read_text())["required"]


def test_a_row_has_the_first_columns_of_the_table_in_order() -> None:
    columns = re.findall(r"^    (\w+) ", TABLE_SCRIPT.read_text(), re.MULTILINE)
    assert list(Row._fields) == columns[: len(Row._fields)]
    assert columns[len(Row._fields) :] == ["updated_at"]
