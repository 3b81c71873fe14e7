"""The schemas and the examples of contract/ fit together, and the rules of verify/ fit both."""

import json
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from records import ARRIVAL, EXAMPLES, RECORD, RECORDS, VALID, examples
from rules import REASONS, Rejected, judge

TOPICS = ("transactions_raw", "transactions_agg")
SCHEMAS = {
    topic: json.loads((EXAMPLES.parent / f"{topic}.schema.json").read_text()) for topic in TOPICS
}
WATERMARK = timedelta(minutes=10)
# By their note: examples of wrong records that a schema cannot tell from right ones.
BEYOND_A_SCHEMA = {
    "a day that November does not have",
    "6 minutes ahead of the Kafka timestamp",
    "a microsecond more than 5 minutes ahead",
    "the local time of UTC+1 sent as UTC, an hour ahead",
    "the year 2099",
    "the window ends when it starts",
    "the window ends before it starts",
}


def refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def is_valid(topic: str, value: bytes) -> bool:
    """Whether the value is JSON that the topic's schema allows."""
    try:
        message = json.loads(value.decode(), parse_constant=refuse)
    except (ValueError, RecursionError):
        return False
    return Draft202012Validator(SCHEMAS[topic]).is_valid(message)


def each_example(topic: str, *names: str) -> list[object]:
    return [
        pytest.param(topic, value, id=f"{topic}-{name}-{number}")
        for name in names
        for number, value in enumerate(examples(f"{topic}/{name}"), start=1)
    ]


@pytest.mark.parametrize("topic", TOPICS)
def test_schemas_are_valid_and_so_are_the_examples_in_them(topic: str) -> None:
    schema = SCHEMAS[topic]
    Draft202012Validator.check_schema(schema)
    for example in schema["examples"]:
        Draft202012Validator(schema).validate(example)
        assert list(example) == list(schema["properties"])


@pytest.mark.parametrize("topic", TOPICS)
def test_every_field_is_described_and_required_fields_are_in_order(topic: str) -> None:
    properties, required = SCHEMAS[topic]["properties"], SCHEMAS[topic]["required"]
    assert all(field.get("description") for field in properties.values())
    assert required == [name for name in properties if name in required]


def test_there_are_examples_of_every_verdict() -> None:
    found = {path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.glob("*/*")}
    verdicts = ("valid", "lenient", "late", *REASONS)
    assert found == {
        *(f"transactions_raw/{verdict}.jsonl" for verdict in verdicts),
        *(f"transactions_agg/{name}.jsonl" for name in ("valid", "lenient", "invalid")),
    }


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*/*")), ids=lambda path: path.name)
def test_every_line_of_an_example_file_is_one_value(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    assert all(lines)
    assert len(set(lines)) == len(lines)
    assert lines == "\n".join(lines).splitlines()  # however a reader splits them


@pytest.mark.parametrize(
    ("topic", "value"),
    each_example("transactions_raw", "valid", "late") + each_example("transactions_agg", "valid"),
)
def test_the_schema_allows_examples_that_are_valid_or_only_late(topic: str, value: bytes) -> None:
    Draft202012Validator(SCHEMAS[topic]).validate(json.loads(value))


@pytest.mark.parametrize(
    ("topic", "value"),
    each_example("transactions_raw", "lenient", *REASONS)
    + each_example("transactions_agg", "lenient", "invalid"),
)
def test_the_schema_refuses_all_other_examples_but_those_beyond_a_schema(
    topic: str, value: bytes
) -> None:
    is_beyond = any(f'"note":"{note}"'.encode() in value for note in BEYOND_A_SCHEMA)
    assert is_valid(topic, value) is is_beyond


def test_a_window_starts_and_ends_on_a_whole_minute() -> None:
    message, schema = SCHEMAS["transactions_agg"]["examples"][0], SCHEMAS["transactions_agg"]
    for name in ("window_start", "window_end"):
        shifted = message | {name: message[name].replace("00Z", "30Z")}
        assert not Draft202012Validator(schema).is_valid(shifted)


def test_the_records_of_the_tests_have_the_fields_of_the_schema() -> None:
    assert list(VALID) == list(SCHEMAS["transactions_raw"]["properties"])


@given(RECORDS)
def test_a_record_that_the_schema_allows_is_only_rejected_for_its_time(value: bytes) -> None:
    if is_valid("transactions_raw", value):
        try:
            judge(value, ARRIVAL, WATERMARK)
        except Rejected as rejected:
            assert str(rejected) in ("time", "late")


@given(RECORD, st.sampled_from(SCHEMAS["transactions_raw"]["required"]))
def test_a_field_that_the_schema_requires_is_required(record: dict[str, object], name: str) -> None:
    value = json.dumps({key: each for key, each in record.items() if key != name}).encode()
    assert not is_valid("transactions_raw", value)
    with pytest.raises(Rejected):
        judge(value, ARRIVAL, WATERMARK)
