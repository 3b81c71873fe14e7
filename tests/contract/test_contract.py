"""The services share no code: these tests keep them in sync with contract/ and with each other.

Only what can be read from the files is compared here. That the producer's records and the job's
messages fit the schemas, and that the consumer reads every message that fits, is tested with each
service, against the same schemas and examples.
"""

import ast
import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from records import EXAMPLES
from settings import to_timedelta

PROJECT = Path(__file__).resolve().parents[2]
SERVICES = ("producer", "spark-job", "clickhouse-consumer")
RAW, AGG = (
    json.loads((EXAMPLES.parent / f"{topic}.schema.json").read_text())
    for topic in ("transactions_raw", "transactions_agg")
)
PRINT_DEFAULTS = """
import json
from datetime import timedelta
from settings import Settings

def text(value):
    return value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)

print(json.dumps({name: text(value) for name, value in Settings()}))
"""


def constant(file: str, name: str) -> Any:
    """The literal value of a constant in a source file, which is read and not imported."""
    for node in ast.parse((PROJECT / file).read_text()).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return ast.literal_eval(node.value)
    raise AssertionError(f"{file} has no constant {name}")


def fields(file: str, name: str) -> list[str]:
    """The names of the annotated fields of a class in a source file."""
    for node in ast.parse((PROJECT / file).read_text()).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            annotated = [each for each in node.body if isinstance(each, ast.AnnAssign)]
            return [each.target.id for each in annotated if isinstance(each.target, ast.Name)]
    raise AssertionError(f"{file} has no class {name}")


@cache
def defaults(folder: str) -> dict[str, str]:
    """The default of every setting of a service, as text."""
    result = subprocess.run(
        [sys.executable, "-c", PRINT_DEFAULTS],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT / folder)},
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    found: dict[str, str] = json.loads(result.stdout)
    return found


def test_all_sides_know_the_same_payment_types() -> None:
    names = tuple(RAW["properties"]["payment_type"]["enum"])
    assert constant("producer/producer.py", "PAYMENT_TYPES") == names
    assert constant("spark-job/validity.py", "PAYMENT_TYPES") == names
    assert constant("verify/rules.py", "PAYMENT_TYPES") == set(names)


def test_the_job_reads_the_fields_that_the_schema_requires() -> None:
    assert list(constant("spark-job/validity.py", "FIELDS")) == RAW["required"]


def test_all_sides_have_the_same_limits() -> None:
    longest = RAW["properties"]["order_id"]["maxLength"]
    assert RAW["properties"]["product_id"]["maxLength"] == longest
    assert AGG["properties"]["top_product"]["maxLength"] == longest
    assert constant("spark-job/validity.py", "MAX_ID_LENGTH") == longest
    assert constant("verify/rules.py", "MAX_ID_LENGTH") == longest


def test_the_job_and_the_recomputation_have_the_same_reasons() -> None:
    reasons = constant("verify/rules.py", "REASONS")
    assert constant("spark-job/validity.py", "REASONS") == reasons


def test_all_sides_have_the_columns_of_the_schema_in_its_order() -> None:
    columns = list(AGG["properties"])
    assert AGG["required"] == columns
    assert fields("clickhouse-consumer/message.py", "Row") == columns
    assert fields("verify/windows.py", "Row") == columns
    sql = (PROJECT / "clickhouse-init" / "init.sql").read_text()
    assert re.findall(r"^ {4}(\w+) +[A-Z]", sql, re.MULTILINE)[:6] == columns


@pytest.mark.parametrize(
    ("folder", "known"),
    [
        (
            "producer",
            {
                "kafka_bootstrap_servers": "localhost:9092",
                "raw_topic": "transactions_raw",
            },
        ),
        (
            "spark-job",
            {
                "kafka_bootstrap_servers": "localhost:9092",
                "raw_topic": "transactions_raw",
                "agg_topic": "transactions_agg",
                "checkpoint_location": "/tmp/checkpoints",
            },
        ),
        (
            "clickhouse-consumer",
            {
                "kafka_bootstrap_servers": "localhost:9092",
                "agg_topic": "transactions_agg",
                "clickhouse_host": "127.0.0.1",
                "clickhouse_port": "9000",
                "clickhouse_user": "consumer",
                "clickhouse_password": "MySecret",
                "clickhouse_database": "default",
                "clickhouse_table": "aggregated_analytics",
            },
        ),
    ],
)
def test_names_that_users_type_from_memory(folder: str, known: dict[str, str]) -> None:
    found = defaults(folder)
    assert {name: found[name] for name in known} == known


def test_a_setting_of_two_sides_has_the_same_default_in_both() -> None:
    by_name: dict[str, set[str]] = {}
    for folder in (*SERVICES, "verify"):
        for name, default in defaults(folder).items():
            by_name.setdefault(name, set()).add(default)
    watermarks = by_name.pop("watermark")  # text in the job, a timedelta in verify/
    assert watermarks == {"10 minutes", str(to_timedelta("10 minutes"))}
    assert {name: found for name, found in by_name.items() if len(found) > 1} == {}


@pytest.mark.parametrize("file", ["lifecycle.py", "metrics_server.py"])
def test_the_three_copies_of_a_file_are_equal(file: str) -> None:
    copies = [(PROJECT / folder / file).read_bytes() for folder in SERVICES]
    assert copies == copies[:1] * 3
