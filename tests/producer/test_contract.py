"""What the producer makes, against the schema that all services agree on."""

import json
from pathlib import Path

from jsonschema import Draft202012Validator

from producer import PAYMENT_TYPES
from samples import records

SCHEMA_FILE = Path(__file__).parents[2] / "contract" / "transactions_raw.schema.json"
SCHEMA = json.loads(SCHEMA_FILE.read_text())


def is_valid(value: bytes) -> bool:
    try:
        record = json.loads(value)
    except ValueError:
        return False
    return Draft202012Validator(SCHEMA).is_valid(record)


def test_payment_types_are_those_of_the_schema() -> None:
    assert list(PAYMENT_TYPES) == SCHEMA["properties"]["payment_type"]["enum"]


def test_a_record_has_the_fields_of_the_schema_in_its_order() -> None:
    [(_, value)] = records(1, invalid_share=0)
    assert list(json.loads(value)) == list(SCHEMA["properties"])


def test_every_record_is_valid_for_the_schema_unless_made_invalid() -> None:
    validator = Draft202012Validator(SCHEMA)
    for _, value in records(500, invalid_share=0, late_share=0.5):
        validator.validate(json.loads(value))


def test_every_deliberately_invalid_record_is_invalid_for_the_schema() -> None:
    assert [value for _, value in records(500, invalid_share=1) if is_valid(value)] == []
