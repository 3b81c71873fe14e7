"""The job and the oracle share no code: they must judge every record alike, however strange."""

from datetime import UTC, datetime, timedelta

from hypothesis import Phase, given, settings
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import oracle
import totals
from records import ARRIVAL, CORPUS, RECORDS

WATERMARK = timedelta(minutes=10)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RAW_SCHEMA = "topic string, partition int, offset long, timestamp timestamp, value binary"


def of_job(spark: SparkSession, values: list[bytes | None]) -> list[object]:
    """What the job makes of each value: a reason, or the transaction that counts."""
    rows = [("raw", 0, number, ARRIVAL, value) for number, value in enumerate(values)]
    judged = totals.judge(totals.parse(spark.createDataFrame(rows, RAW_SCHEMA)), "10 minutes")
    micros = F.unix_micros("event_time").alias("micros")
    found = judged.select("offset", "verdict", "order_id", "product_id", "amount", micros).collect()
    assert sorted(row.offset for row in found) == list(range(len(values)))
    return [
        row.verdict or (row.order_id, row.product_id, row.amount, row.micros)
        for row in sorted(found, key=lambda row: row.offset)
    ]


def of_oracle(value: bytes | None) -> object:
    try:
        order_id, product_id, amount, event_time = oracle.judge(value, ARRIVAL, WATERMARK)
    except oracle.Rejected as rejected:
        return str(rejected)
    return order_id, product_id, amount, (event_time - EPOCH) // timedelta(microseconds=1)


def assert_same(spark: SparkSession, values: list[bytes | None]) -> None:
    different = [
        (value and value[:300], job, wanted)
        for value, job in zip(values, of_job(spark, values), strict=True)
        if job != (wanted := of_oracle(value))
    ]
    assert not different


def test_job_and_oracle_agree_on_every_record_of_the_corpus(spark: SparkSession) -> None:
    assert_same(spark, CORPUS)


def test_the_corpus_meets_every_verdict() -> None:
    verdicts = {of_oracle(value) for value in CORPUS if isinstance(of_oracle(value), str)}
    assert verdicts == {*totals.REASONS, totals.LATE}


def test_job_and_oracle_agree_on_generated_records(spark: SparkSession) -> None:
    values: list[bytes | None] = []

    @settings(max_examples=1000, database=None, phases=[Phase.generate])
    @given(RECORDS)
    def collect(value: bytes) -> None:
        values.append(value)

    collect()
    assert_same(spark, values)  # in one batch: starting a Spark job costs far more than a record
