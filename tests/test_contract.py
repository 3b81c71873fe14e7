"""The services share no code: these tests hold the three sides of each topic together."""

import json
import random
import re
from decimal import Decimal
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

import consumer
import oracle
import producer
import stream_job
import totals
from records import VALID
from test_stream_job import messages, valid

PROJECT = Path(__file__).parent.parent
RAW_FIELDS = [
    "order_id",
    "user_id",
    "product_id",
    "quantity",
    "price",
    "total_amount",
    "payment_type",
    "transaction_time",
]


@pytest.fixture(scope="module")
def produced() -> dict[str, object]:
    rng = random.Random(1)
    sale = producer.make_transaction(rng, producer.make_pools(1), epoch_ms=1_793_536_214_123)
    parsed: dict[str, object] = json.loads(producer.encode(sale), parse_float=Decimal)
    return parsed


def test_the_producer_writes_every_field_the_job_reads(produced: dict[str, object]) -> None:
    assert list(produced) == RAW_FIELDS
    assert set(totals.FIELDS) <= set(produced)
    assert list(VALID) == RAW_FIELDS  # and so do the records of the tests


def test_the_producer_writes_the_types_of_the_contract(produced: dict[str, object]) -> None:
    assert {name: type(value) for name, value in produced.items()} == {
        "order_id": str,
        "user_id": int,
        "product_id": str,
        "quantity": int,
        "price": Decimal,
        "total_amount": Decimal,
        "payment_type": str,
        "transaction_time": str,
    }


def test_all_sides_know_the_same_payment_types() -> None:
    assert producer.PAYMENT_TYPES == totals.PAYMENT_TYPES
    assert set(producer.PAYMENT_TYPES) == oracle.PAYMENT_TYPES


def test_the_job_writes_what_the_consumer_reads(spark: SparkSession) -> None:
    (message,) = messages(valid(spark, ("P1", "10.00", 0), ("P1", "0.01", 1))).values()
    assert tuple(message) == consumer.Row._fields
    row = consumer.parse(json.dumps(message, default=float).encode())
    assert row._asdict() | {"window_start": "", "window_end": ""} == {
        "window_start": "",
        "window_end": "",
        "total_sales": Decimal("10.01"),
        "total_orders": 2,
        "average_order_value": Decimal("5.01"),
        "top_product": "P1",
    }
    assert f"{row.window_start:%Y-%m-%dT%H:%M:%SZ}" == message["window_start"]
    assert f"{row.window_end:%Y-%m-%dT%H:%M:%SZ}" == message["window_end"]


def test_the_table_has_the_columns_that_the_consumer_inserts_and_the_oracle_reads() -> None:
    sql = (PROJECT / "clickhouse-init" / "init.sql").read_text()
    columns = re.findall(r"^ {4}(\w+) +[A-Z]", sql, re.MULTILINE)
    assert tuple(columns[:6]) == consumer.Row._fields == oracle.COLUMNS == oracle.Row._fields


def test_the_names_people_have_in_their_fingers() -> None:
    job, loader = stream_job.Config(), consumer.Config()
    sender = producer.Config.from_env({}, [])
    assert job.raw_topic == sender.raw_topic == "transactions_raw"
    assert job.agg_topic == loader.agg_topic == "transactions_agg"
    assert loader.clickhouse_table == "aggregated_analytics"
    assert (loader.clickhouse_user, loader.clickhouse_password) == ("consumer", "MySecret")
    servers = {each.kafka_bootstrap_servers for each in (job, loader, sender)}
    assert servers == {"localhost:9092"}
