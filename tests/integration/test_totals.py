"""Every record is counted once: in the table, or in the log of a service with the reason."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import Phase, given, settings
from kafka import KafkaProducer

from lag import wait_for_consumer
from pipeline import Pipeline
from polling import eventually_equal
from raw_topic import RawTopic
from records import CORPUS, RECORDS, moved_to, transaction
from rules import REASONS
from windows import Expected

pytestmark = pytest.mark.services

WATERMARK = timedelta(minutes=10)
VERDICTS = ("valid", *REASONS, "late")
# Verdict -> what it is about in a record; malformed ones have no end.
CHANGES: dict[str, dict[str, object]] = {
    "valid": {},
    "malformed": {},
    "identity": {"product_id": ""},
    "amount": {"total_amount": "19,90"},
    "payment_type": {"payment_type": "apple_pay"},
    "time": {"transaction_time": "yesterday"},
    "late": {"transaction_time": "2020-01-01T00:00:00Z"},
}
LINE = re.compile(r"(\w+) +partition (\d+) offset (\d+) \S+ (.*)")


@pytest.fixture
def raw(pipeline: Pipeline, job_counts: Callable[[], Counter[str]]) -> Iterator[RawTopic]:
    """The raw topic; the next read returns the records that `job_counts` is about."""
    topic = RawTopic(pipeline.bootstrap_servers, "transactions_raw")
    list(topic.read_new())
    yield topic
    topic.close()


def expected_counts(raw: RawTopic) -> dict[str, int]:
    """What the job must count, by verdict, of the records that are new in the topic."""
    expected = Expected(WATERMARK)
    for record in raw.read_new():
        expected.add(record.value, record.arrival)
    return {
        "records": expected.verdicts.total(),
        "rejected": expected.rejected,
        **{verdict: expected.verdicts[verdict] for verdict in VERDICTS},
    }


def generated_records(number: int) -> list[bytes]:
    values: list[bytes] = []

    @settings(max_examples=number, database=None, phases=[Phase.generate], deadline=None)
    @given(RECORDS)
    def collect(value: bytes) -> None:
        values.append(value)

    collect()
    return values


def test_totals_are_exact_and_every_record_is_counted(
    pipeline: Pipeline, raw: RawTopic, job_counts: Callable[[], Counter[str]]
) -> None:
    pipeline.produce(5000)
    pipeline.verify()
    expected = expected_counts(raw)
    assert (expected["records"], expected["late"]) == (5000, 0)
    assert expected["rejected"] > 0
    eventually_equal(
        lambda: {name: job_counts()[name] for name in expected}, expected, "counts of the job"
    )


def test_ten_thousand_bad_records_are_all_counted_by_reason(
    pipeline: Pipeline, raw: RawTopic, job_counts: Callable[[], Counter[str]]
) -> None:
    huge = [transaction(note="x" * 900_000), b"[" * 900_000, b"\xff" * 900_000]
    records = CORPUS + generated_records(2_600) * 5  # it takes 4 ms to generate one
    strange = [moved_to(datetime.now(UTC), value) for value in records]
    pipeline.send("transactions_raw", huge + strange)
    expected = expected_counts(raw)
    assert expected["rejected"] + expected["late"] >= 10_000
    assert expected["valid"] > 20
    eventually_equal(
        lambda: {name: job_counts()[name] for name in expected}, expected, "counts of the job"
    )
    pipeline.verify()


def test_every_rejected_record_is_listed_and_counted_as_in_the_log_of_the_job(
    pipeline: Pipeline, job_counts: Callable[[], Counter[str]]
) -> None:
    since = datetime.now(UTC).isoformat()
    sent = []
    with KafkaProducer(bootstrap_servers=pipeline.bootstrap_servers, linger_ms=20) as producer:
        for number in range(1700):
            for verdict, changes in CHANGES.items():
                fields = {"order_id": str(number), "transaction_time": since, **changes}
                text = transaction(**fields)[: -1 if verdict == "malformed" else None]
                future = producer.send("transactions_raw", text, key=b"%d" % number)
                sent.append((future, verdict, text.decode()))
    places = [(future.get(timeout=30), verdict, text) for future, verdict, text in sent]

    shown = pipeline.rejected(MAX=20_000, SINCE=since)

    assert shown.stderr == (
        "11900 records: 1700 valid, 8500 rejected (malformed 1700, identity 1700, amount 1700,"
        " payment_type 1700, time 1700), 1700 late; 10200 shown\n"
    )
    listed = [LINE.fullmatch(line) for line in shown.stdout.splitlines()]
    assert sorted(match.groups() for match in listed if match) == sorted(
        (verdict, str(place.partition), str(place.offset), text)
        for place, verdict, text in places
        if verdict != "valid"
    )
    expected = {"records": 11_900, "rejected": 8500, **dict.fromkeys(CHANGES, 1700)}
    eventually_equal(
        lambda: {name: job_counts()[name] for name in expected}, expected, "counts of the job"
    )


def test_a_rejected_record_that_is_corrected_and_sent_again_counts_once(
    pipeline: Pipeline,
) -> None:
    since = datetime.now(UTC).isoformat()
    wrong = transaction(total_amount="19,90", transaction_time=since)
    pipeline.send("transactions_raw", [wrong, transaction(transaction_time=since)])
    (line,) = pipeline.rejected(SINCE=since).stdout.splitlines()
    pipeline.verify()
    orders = pipeline.stored_orders()

    text = line[line.index("{") :]
    assert text == wrong.decode()
    pipeline.send("transactions_raw", [text.replace('"19,90"', "19.90").encode()])

    pipeline.verify()
    assert pipeline.stored_orders() == orders + 1
    assert pipeline.rejected(SINCE=since).stdout.splitlines() == [line]


def test_invalid_window_totals_are_reported_and_skipped(pipeline: Pipeline) -> None:
    invalid = [None, b"", b"\xff", b"[]", b"{}", b'{"window_start": "2026"}', b"\x00" * 10]
    pipeline.send("transactions_agg", invalid)
    pipeline.produce(500)
    pipeline.verify()
    wait_for_consumer(pipeline)
    reports = re.findall(
        r"skipped topic transactions_agg partition \d offset \d+: .+",
        pipeline.log("clickhouse-consumer"),
    )
    assert len(reports) == len(invalid)
