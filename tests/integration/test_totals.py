"""Every record is counted once: in the table, or in the log of a service with the reason."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import Phase, given, settings

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
