"""The job and the oracle share no code: they must judge every record alike, however strange."""

import json
from datetime import UTC, datetime, timedelta

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import oracle
import totals
from records import ARRIVAL, CORPUS, VALID

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


JSON_VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.decimals(-1000, 1000, places=3).map(float)
    | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=2) | st.dictionaries(st.text(max_size=3), children, max_size=2)
    ),
    max_leaves=4,
)
CENTS = st.integers(0, 10**15 - 1).map(lambda cents: f"{cents // 100}.{cents % 100:02}")
TIME_TEXT = st.builds(
    lambda moment, offset, form: form.format(
        moment.isoformat(),
        f"{'+' if offset >= 0 else '-'}{abs(offset) // 60:02}:{abs(offset) % 60:02}",
    ),
    st.datetimes(datetime(2026, 11, 1, 11), datetime(2026, 11, 1, 14)),
    st.integers(-1100, 1100),
    st.sampled_from(["{0}{1}", "{0}Z", "{0}", "{1}{0}"]),
)
RECORD = st.fixed_dictionaries(
    {},
    optional={
        "order_id": st.uuids().map(str) | JSON_VALUE,
        "product_id": st.from_regex(r"P[0-9]{4}", fullmatch=True) | JSON_VALUE,
        "total_amount": CENTS.map(float) | CENTS | JSON_VALUE,
        "payment_type": st.sampled_from(totals.PAYMENT_TYPES) | JSON_VALUE,
        "transaction_time": TIME_TEXT | JSON_VALUE,
        "extra": JSON_VALUE,
    },
).map(lambda fields: {**VALID, **fields})


@st.composite
def broken_bytes(draw: st.DrawFn) -> bytes:
    """A record with a few bytes put in, taken out or changed."""
    value = bytearray(json.dumps(draw(RECORD)).encode())
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(value)))
        value[place : place + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(value)


def test_job_and_oracle_agree_on_generated_records(spark: SparkSession) -> None:
    values: list[bytes | None] = []

    @settings(max_examples=1000, database=None, phases=[Phase.generate])
    @given(RECORD.map(json.dumps).map(str.encode) | broken_bytes())
    def collect(value: bytes) -> None:
        values.append(value)

    collect()
    assert_same(spark, values)  # in one batch: starting a Spark job costs far more than a record
