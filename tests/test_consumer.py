"""The consumer against fakes of Kafka and ClickHouse; no test waits or needs a server."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import pytest
from clickhouse_driver.errors import NetworkError, ServerException, TypeMismatchError
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from kafka.errors import CommitFailedError, KafkaConnectionError, KafkaTimeoutError
from kafka.structs import TopicPartition

import consumer
import table
from consumer import (
    Config,
    ConfigError,
    InvalidMessage,
    Loader,
    Row,
    Stuck,
    TooManyInvalid,
    parse,
)
from message import datetime_from_text

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
TOPIC = Config().agg_topic
P0, P1, P2 = (TopicPartition(TOPIC, number) for number in range(3))
TOO_MANY_PARTS, UNKNOWN_TABLE, NEVER_SEEN_CODE = 252, 60, 98765
VIOLATED_CONSTRAINT = 469


class Record(NamedTuple):
    topic: str
    partition: int
    offset: int
    value: bytes | None


class Killed(BaseException):
    """The process ends here: nothing of the consumer runs any more."""


class FakeClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Broker:
    """A topic and what the group has committed: all that outlives a consumer."""

    def __init__(self, partitions: int = 3) -> None:
        self.logs: dict[TopicPartition, list[bytes | None]] = {
            TopicPartition(TOPIC, number): [] for number in range(partitions)
        }
        self.committed: dict[TopicPartition, int] = {}

    def send(self, *values: bytes | None, to: TopicPartition = P0) -> None:
        self.logs[to].extend(values)


class FakeKafka:
    """A KafkaConsumer of such a topic. poll() without records lets the time pass."""

    def __init__(self, broker: Broker, clock: FakeClock) -> None:
        self.broker, self.clock = broker, clock
        self.positions: dict[TopicPartition, int] = {}
        self.paused_partitions: set[TopicPartition] = set()
        self.errors: list[Exception | None] = []  # of the next commits
        self.polls: list[dict[str, Any]] = []
        self.commits: list[dict[TopicPartition, int]] = []
        self.is_away = self.is_closed = False
        self.assign(broker.logs)

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """As in kafka-python 3: what stays assigned keeps its position and stays paused."""
        committed = self.broker.committed
        self.positions = {p: self.positions.get(p, committed.get(p, 0)) for p in partitions}
        self.paused_partitions &= self.positions.keys()

    def poll(self, timeout_ms: float, max_records: int) -> dict[TopicPartition, list[Record]]:
        self.polls.append({"timeout_ms": timeout_ms, "max_records": max_records})
        if self.is_away:
            self.clock.now += timeout_ms / 1000
            raise KafkaConnectionError("111 ECONNREFUSED")
        polled: dict[TopicPartition, list[Record]] = {}
        for partition in sorted(self.positions.keys() - self.paused_partitions):
            begin = self.positions[partition]
            values = self.broker.logs[partition][begin : begin + max_records]
            if values:
                polled[partition] = [
                    Record(partition.topic, partition.partition, offset, value)
                    for offset, value in enumerate(values, begin)
                ]
                self.positions[partition] += len(values)
                max_records -= len(values)
            if max_records == 0:
                break
        if not polled:
            self.clock.now += timeout_ms / 1000
        return polled

    def commit(self, timeout_ms: int) -> None:
        error = self.errors.pop(0) if self.errors else None
        if error:
            raise error
        self.commits.append(dict(self.positions))
        self.broker.committed.update(self.positions)

    def assignment(self) -> set[TopicPartition]:
        return set(self.positions)

    def pause(self, *partitions: TopicPartition) -> None:
        self.paused_partitions.update(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self.paused_partitions.difference_update(partitions)

    def paused(self) -> set[TopicPartition]:
        return set(self.paused_partitions)

    def end_offsets(
        self, partitions: set[TopicPartition], timeout_ms: int
    ) -> dict[TopicPartition, int]:
        if self.is_away:
            raise KafkaTimeoutError
        return {partition: len(self.broker.logs[partition]) for partition in partitions}

    def position(self, partition: TopicPartition, timeout_ms: int) -> int:
        return self.positions[partition]

    def close(self, timeout_ms: int) -> None:
        self.is_closed = True


class FakeClickHouse:
    """A Client of a server with the one table; keeps every block and the table they amount to."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.blocks: list[list[Row]] = []
        self.table: dict[datetime, Row] = {}
        self.statements: set[str] = set()
        self.errors: list[Exception | None] = []  # of the next inserts
        self.error: Exception | None = None  # of every insert
        self.refuses: Callable[[Row], bool] = lambda row: False
        self.refusal: Exception = ServerException("Constraint ...", VIOLATED_CONSTRAINT)
        self.attempts: list[list[Row]] = []
        self.attempt_times: list[float] = []

    def execute(self, statement: str, rows: list[Row]) -> int:
        self.statements.add(statement)
        self.attempts.append(list(rows))
        self.attempt_times.append(self.clock.now)
        error = self.errors.pop(0) if self.errors else self.error
        if error:
            raise error
        if any(self.refuses(row) for row in rows):
            raise self.refusal
        self.store(rows)
        return len(rows)

    def store(self, rows: list[Row]) -> None:
        self.blocks.append(list(rows))
        for row in rows:  # ReplacingMergeTree(total_orders): among equals the last one
            old = self.table.get(row.window_start)
            if old is None or row.total_orders >= old.total_orders:
                self.table[row.window_start] = row

    def disconnect(self) -> None:
        pass


class Setup:
    """A loader with its surroundings."""

    def __init__(self, **settings: Any) -> None:
        self.clock = FakeClock()
        self.broker = Broker()
        self.kafka = FakeKafka(self.broker, self.clock)
        self.clickhouse = FakeClickHouse(self.clock)
        self.loader = Loader(self.kafka, self.clickhouse, Config(**settings), self.clock)

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            self.loader.step()

    def step_for(self, seconds: float) -> None:
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.loader.step()

    def stop(self) -> None:
        stop = Event()
        stop.set()
        self.loader.run(stop)


def row(minute: int = 0, orders: int = 1) -> Row:
    start = NOON + timedelta(minutes=minute)
    sales = Decimal(orders) * Decimal("2.50")
    return Row(
        start, start + timedelta(minutes=1), sales, orders, Decimal("2.50"), f"P{orders:04d}"
    )


def fields(minute: int = 0, orders: int = 1) -> dict[str, Any]:
    """A message on the topic, as the job writes it."""
    expected = row(minute, orders)
    return {
        "window_start": expected.window_start.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "window_end": expected.window_end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "total_sales": float(expected.total_sales),
        "total_orders": orders,
        "average_order_value": 2.5,
        "top_product": expected.top_product,
    }


def message(minute: int = 0, orders: int = 1, **changes: Any) -> bytes:
    return json.dumps(fields(minute, orders) | changes).encode()


def away() -> NetworkError:
    return NetworkError("Connection refused (localhost:9000)")


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


# Reading a record


def test_a_message_of_the_job_is_read_exactly() -> None:
    assert parse(message(minute=3, orders=2)) == row(minute=3, orders=2)


def test_money_is_read_as_decimal_to_the_cent_half_up() -> None:
    text = message().replace(b"2.5,", b"12345678901234567890.125,", 1).replace(b"2.5,", b"0.005,")
    found = parse(text)
    assert found.total_sales == Decimal("12345678901234567890.13")
    assert str(found.average_order_value) == "0.01"


@pytest.mark.parametrize(
    "moment",
    [
        "2026-11-22T12:00:00Z",
        "2026-11-22T12:00:00.000Z",
        "2026-11-22T12:00Z",
        "2026-11-22T14:00:00+02:00",
        "2026-11-22T06:30:00-05:30",
        "2026-11-22T12:00:00",
        "2026-11-22 12:00:00",
        "2026-11-22 14:00:00+02:00",
        "20261122T120000Z",
        1795348800,
        1795348800.0,
        1795348800000,
        "1795348800",
        "1795348800000",
        "2026-11-22T12:00:00.999999Z",
        1795348800.999,
        1795348800999,
    ],
)
def test_a_time_is_read_in_many_forms_and_cut_to_the_second(moment: object) -> None:
    assert parse(message(window_start=moment)) == row()


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
        ("2106-02-07T06:28:14Z", datetime(2106, 2, 7, 6, 28, 14, tzinfo=UTC)),
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (2**32 - 2, datetime(2106, 2, 7, 6, 28, 14, tzinfo=UTC)),
        (10**11, datetime(1973, 3, 3, 9, 46, 40, tzinfo=UTC)),
    ],
)
def test_a_time_may_be_anywhere_in_the_range_of_the_column(moment: object, expected: Any) -> None:
    found = parse(message(window_start=moment, window_end="2106-02-07T06:28:15Z"))
    assert found.window_start == expected


def test_the_time_zone_of_the_host_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    datetime_from_text.cache_clear()
    try:
        monkeypatch.setenv("TZ", "America/New_York")
        time.tzset()
        assert parse(message(window_start="2026-11-22T12:00:00")) == row()
    finally:
        monkeypatch.undo()
        time.tzset()


def test_numbers_may_be_as_large_as_their_columns() -> None:
    most, average = Decimal("9" * 36 + ".99"), Decimal("-" + "9" * 16 + ".99")
    text = message(total_orders=2**64 - 1, total_sales=1.5, average_order_value=2.5)
    text = text.replace(b"1.5", f"{most}".encode()).replace(b"2.5", f"{average}".encode())
    assert parse(text)[2:5] == (most, 2**64 - 1, average)


def test_keys_that_are_not_part_of_the_contract_are_ignored() -> None:
    assert parse(message(added_later=[1, None, {}])) == row()


BAD_FIELDS: dict[str, list[Any]] = {
    "window_start": [
        *(None, True, [], {}, "", "now", "2026", "2026-11", "2026-11-22", "2026-11-22T12"),
        *("2026-11-22X12:00:00Z", "2026-13-01T00:00:00Z", "2026-11-22T12:00:00 Z", "x" * 10**6),
        *("1969-12-31T23:59:59Z", "2106-02-07T06:28:16Z", "9999-12-31T23:59:59Z"),
        *("0001-01-01T00:00:00+14:00", "２０２６-11-22T12:00:00Z", "202611221200", -1, 2**32),
        *(10**11 - 1, 10**18, 10**400, -0.5),
        *("2026-11-22T12:00:00." + "0" * 50, "2026-11-22T12:00:00Z\n"),
    ],
    "total_sales": [None, False, "2.50", [], 10**36, -(10**36), 10**4000],
    "total_orders": [None, True, "1", 1.0, 1.5, -1, 2**64, [1]],
    "average_order_value": [None, True, "2.50", {}, 10**16, -(10**16)],
    "top_product": [None, 1, True, ["P"], "\ud800"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name in BAD_FIELDS for value in BAD_FIELDS[name]]
)
def test_a_field_that_the_column_cannot_hold_is_refused(name: str, value: object) -> None:
    with pytest.raises(InvalidMessage, match=f"^{name} is no ") as error:
        parse(json.dumps(fields() | {name: value}).encode())
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("end", ["2026-11-22T12:00:00Z", "2026-11-22T12:00:00.9Z", 0])
def test_a_window_that_does_not_end_after_its_start_is_refused(end: object) -> None:
    with pytest.raises(InvalidMessage, match=r"^window_end is not after window_start$"):
        parse(message(window_end=end))


@pytest.mark.parametrize("name", Row._fields)
def test_a_missing_field_is_refused(name: str) -> None:
    value = json.dumps({key: value for key, value in fields().items() if key != name})
    with pytest.raises(InvalidMessage, match=f"^{name} is missing$"):
        parse(value.encode())


@pytest.mark.parametrize(
    "value",
    [
        *(None, b"", b" ", b"{", b"null", b"true", b"[]", b"[{}]", b'"text"', b"1", b"{} {}"),
        *(message()[:-5], message() + b"x", b"{'a': 1}", message(more=float("nan"))),
        *(b"\xff", b"\xef\xbb\xbf{}", message().decode().encode("utf-16")),
        message().replace(b"P0001", b"\xff"),
        *(b"[" * 10**6, b'{"a":' * 10**6, b"1" * 10**6),
        *(message(total_sales=float(name)) for name in ("nan", "inf", "-inf")),
        *(message().replace(b"2.5", number) for number in (b"1e999999999", b"1e" + b"9" * 99)),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_record_that_is_no_json_object_of_finite_numbers_is_refused(value: bytes | None) -> None:
    with pytest.raises(InvalidMessage) as error:
        parse(value)
    assert len(str(error.value)) < 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
nearly_messages = st.fixed_dictionaries(
    {},
    optional={
        "window_start": json_values | st.datetimes().map(str),
        "window_end": json_values | st.integers(0, 2**42),
        "total_sales": json_values,
        "total_orders": json_values | st.integers(0),
        "average_order_value": json_values,
        "top_product": json_values,
    },
)
any_bytes = st.one_of(
    st.binary(),
    st.text().map(str.encode),
    json_values.map(lambda value: json.dumps(value).encode()),
    nearly_messages.map(lambda changes: json.dumps(fields() | changes).encode()),
    st.tuples(st.integers(0, 200), st.binary(max_size=3)).map(
        lambda change: message()[: change[0]] + change[1] + message()[change[0] + 1 :]
    ),
)


@given(any_bytes)
@settings(max_examples=500)
def test_whatever_a_record_holds_is_a_row_or_refused(value: bytes) -> None:
    try:
        found = parse(value)
    except InvalidMessage as reason:
        assert 0 < len(str(reason)) < 300
    else:
        assert [type(field) for field in found] == [datetime, datetime, Decimal, int, Decimal, str]
        assert found.window_start.tzinfo is UTC


def amounts(digits: int) -> st.SearchStrategy[Decimal]:
    limit = 10**digits - 1
    return st.integers(-limit, limit).map(lambda cents: Decimal(f"{cents}e-2"))


seconds = st.integers(0, 2**32 - 1)


def window(times: set[int], *others: Any) -> Row:
    start, end = (datetime.fromtimestamp(moment, UTC) for moment in sorted(times))
    return Row(start, end, *others)


storable_rows = st.builds(
    window,
    st.sets(seconds, min_size=2, max_size=2),
    amounts(38),
    st.integers(0, 2**64 - 1),
    amounts(18),
    st.text(st.characters(codec="utf-8")),
)
time_forms: list[Callable[[datetime], object]] = [
    datetime.isoformat,
    lambda moment: moment.strftime("%Y-%m-%d %H:%M:%S"),
    lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
    lambda moment: f"{moment + timedelta(hours=1):%Y-%m-%dT%H:%M:%S}+01:00",
    lambda moment: int(moment.timestamp()),
]


@given(storable_rows, st.sampled_from(time_forms), st.sampled_from(time_forms))
def test_every_row_that_the_table_can_hold_is_read_back_exactly(
    expected: Row, form: Callable[[datetime], object], other_form: Callable[[datetime], object]
) -> None:
    text = json.dumps(
        {
            "window_start": form(expected.window_start),
            "window_end": other_form(expected.window_end),
            "total_sales": "SALES",
            "total_orders": expected.total_orders,
            "average_order_value": "AVERAGE",
            "top_product": expected.top_product,
        }
    )
    text = text.replace('"SALES"', f"{expected.total_sales:f}", 1)
    text = text.replace('"AVERAGE"', f"{expected.average_order_value:f}", 1)
    assert parse(text.encode()) == expected


# When a batch is stored


def test_a_batch_is_stored_when_its_first_row_has_waited_long_enough() -> None:
    setup = Setup(flush_interval_sec=2)
    setup.clock.now = 100
    setup.broker.send(message(0))
    setup.step()
    setup.clock.now = 101.5
    setup.broker.send(message(1))
    setup.step()
    assert setup.clickhouse.blocks == []
    setup.step()  # nothing more comes: poll waits for the rest of the two seconds
    assert setup.clock.now == 102
    assert setup.clickhouse.blocks == [[row(0), row(1)]]


def test_a_batch_is_stored_at_once_when_it_is_full() -> None:
    setup = Setup(max_batch_rows=3)
    setup.broker.send(*(message(minute) for minute in range(7)))
    setup.step(3)
    assert setup.clickhouse.blocks == [[row(0), row(1), row(2)], [row(3), row(4), row(5)]]
    assert setup.clock.now == 0


def test_a_full_batch_may_come_from_several_polls() -> None:
    setup = Setup(max_batch_rows=3)
    for minute in range(3):
        setup.broker.send(message(minute))
        setup.step()
    assert setup.clickhouse.blocks == [[row(0), row(1), row(2)]]
    assert [poll["max_records"] for poll in setup.kafka.polls] == [3, 2, 1]


def test_one_batch_is_one_insert_of_named_columns_in_the_order_of_the_row() -> None:
    setup = Setup(clickhouse_database="db", clickhouse_table="t")
    setup.broker.send(message(0), message(1))
    setup.step(2)
    assert setup.clickhouse.blocks == [[row(0), row(1)]]
    assert setup.clickhouse.statements == {
        "INSERT INTO `db`.`t` (window_start, window_end, total_sales, total_orders,"
        " average_order_value, top_product) VALUES"
    }


def test_without_records_nothing_is_inserted_or_committed() -> None:
    setup = Setup()
    setup.step_for(60)
    assert (setup.clickhouse.attempts, setup.kafka.commits) == ([], [])
    assert all(poll["timeout_ms"] == 1000 for poll in setup.kafka.polls)  # and it does not spin


# What is committed


def test_the_offset_after_the_last_record_of_each_partition_is_committed() -> None:
    setup = Setup()
    setup.broker.send(message(0), message(1), to=P0)
    setup.broker.send(message(2), to=P2)
    setup.step(2)
    assert setup.kafka.commits == [{P0: 2, P1: 0, P2: 1}]


def test_nothing_is_committed_before_the_rows_are_stored() -> None:
    setup = Setup()
    setup.broker.send(message())
    setup.step()
    assert (setup.clickhouse.attempts, setup.kafka.commits) == ([], [])
    setup.clickhouse.error = away()
    setup.step_for(120)
    assert setup.clickhouse.attempts != []
    assert setup.kafka.commits == []


def test_a_batch_of_invalid_records_only_is_committed() -> None:
    setup = Setup()
    setup.broker.send(b"x", None)
    setup.step(2)
    assert setup.clickhouse.attempts == []
    assert setup.broker.committed == {P0: 2, P1: 0, P2: 0}


def test_a_rejected_commit_is_one_warning_and_made_up_for_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    setup = Setup()
    setup.kafka.errors = [CommitFailedError("rebalanced")]
    setup.broker.send(message(0))
    setup.step_for(4)
    assert lines(caplog) == [
        "offsets not committed, records may come again: CommitFailedError: rebalanced"
    ]
    assert setup.broker.committed == {}
    setup.step_for(2)
    assert setup.broker.committed == {P0: 1, P1: 0, P2: 0}
    assert setup.clickhouse.blocks == [[row(0)]]


def test_a_rejected_commit_does_not_hold_up_the_next_rows() -> None:
    setup = Setup()
    setup.kafka.errors = [CommitFailedError()]
    setup.broker.send(message(0))
    setup.step(2)
    setup.broker.send(message(1))
    setup.step(2)
    assert setup.clock.now == 2 * setup.loader.config.flush_interval_sec
    assert setup.clickhouse.blocks == [[row(0)], [row(1)]]
    assert setup.broker.committed == {P0: 2, P1: 0, P2: 0}


def test_a_partition_that_moved_away_is_stored_but_no_longer_committed() -> None:
    setup = Setup()
    setup.broker.send(message(0), to=P0)
    setup.broker.send(message(1), to=P1)
    setup.step()
    setup.kafka.assign({P1})
    setup.step()
    assert setup.clickhouse.table == {NOON: row(0), row(1).window_start: row(1)}
    assert setup.broker.committed == {P1: 1}


# ClickHouse is away

SERVER_ERRORS = [
    away(),
    ServerException("Table does not exist", UNKNOWN_TABLE),
    ServerException("Too many parts", TOO_MANY_PARTS),
    ServerException("?", NEVER_SEEN_CODE),
    ServerException("no code"),
    EOFError("Unexpected EOF while reading bytes"),
    BrokenPipeError(32, "Broken pipe"),
    RuntimeError("not seen before"),
]


@pytest.mark.parametrize("error", SERVER_ERRORS, ids=repr)
def test_the_same_rows_are_tried_again_until_they_are_stored(error: Exception) -> None:
    setup = Setup()
    setup.broker.send(message(0), message(1))
    setup.clickhouse.errors = [error] * 5
    setup.step_for(60)
    assert setup.clickhouse.attempts == [[row(0), row(1)]] * 6
    assert setup.clickhouse.blocks == [[row(0), row(1)]]
    assert setup.broker.committed == {P0: 2, P1: 0, P2: 0}


def test_an_insert_that_acknowledges_fewer_rows_is_tried_again() -> None:
    setup = Setup()
    setup.broker.send(message())
    answers = iter([None, 0, 1])
    setup.clickhouse.execute = lambda statement, rows: next(answers)  # type: ignore
    setup.step_for(60)
    assert next(answers, "all used") == "all used"
    assert setup.broker.committed == {P0: 1, P1: 0, P2: 0}


@pytest.mark.parametrize(("max_batch_rows", "first_try"), [(10, 0.1), (1, 0.0)])
def test_tries_become_rarer_up_to_a_limit_and_each_is_one_line(
    caplog: pytest.LogCaptureFixture, max_batch_rows: int, first_try: float
) -> None:
    setup = Setup(max_batch_rows=max_batch_rows)
    setup.broker.send(message())
    setup.clickhouse.error = ServerException(
        "DB::Exception: Table default.t does not exist. Stack trace:\n\n0. main", UNKNOWN_TABLE
    )
    setup.step_for(50)
    waits = [0, 0.5, 1.5, 3.5, 7.5, 15.5, 25.5, 35.5, 45.5]
    assert setup.clickhouse.attempt_times == pytest.approx([first_try + wait for wait in waits])
    assert len(lines(caplog)) == len(waits)
    assert lines(caplog)[-1] == (
        "ClickHouse at localhost:9000 did not store 1 rows, next try in 10.0 s:"
        " ServerException Code: 60. DB::Exception: Table default.t does not exist."
    )
    assert not any(record.exc_info for record in caplog.records)


def test_the_wait_starts_small_again_after_a_success() -> None:
    setup = Setup()
    setup.clickhouse.errors = [away()] * 6
    setup.broker.send(message(0))
    setup.step_for(60)
    setup.clickhouse.errors = [away()]
    setup.broker.send(message(1))
    begin = setup.clock.now
    setup.step_for(1.5)
    assert setup.clickhouse.table == {row(m).window_start: row(m) for m in range(2)}
    assert setup.clock.now - begin < 2.5


def test_an_outage_of_a_day_is_survived() -> None:
    setup = Setup()
    setup.broker.send(message())
    setup.clickhouse.error = away()
    setup.step_for(24 * 3600)
    setup.clickhouse.error = None
    setup.step_for(10)
    assert setup.clickhouse.blocks == [[row()]]


def test_while_waiting_partitions_are_paused_and_polls_go_on() -> None:
    setup = Setup()
    setup.broker.send(message(0))
    setup.clickhouse.error = away()
    setup.step(2)
    setup.broker.send(message(1))
    polls_before = len(setup.kafka.polls)
    setup.step_for(300)
    assert setup.kafka.paused_partitions == {P0, P1, P2}
    assert len(setup.kafka.polls) - polls_before >= 300
    assert setup.clickhouse.attempts[-1] == [row(0)]


def test_a_partition_assigned_while_waiting_is_paused_and_its_first_records_are_kept() -> None:
    setup = Setup(max_batch_rows=1)
    setup.kafka.assign({P0})
    setup.broker.send(message(0), to=P0)
    setup.clickhouse.error = away()
    setup.step(2)
    setup.broker.send(message(1), message(2), to=P1)
    setup.kafka.assign({P0, P1})
    setup.step_for(30)
    assert setup.kafka.paused_partitions == {P0, P1}
    setup.clickhouse.error = None
    setup.step_for(30)
    assert setup.clickhouse.blocks == [[row(0), row(1)], [row(2)]]
    assert setup.broker.committed == {P0: 1, P1: 2}


def test_partitions_are_resumed_when_clickhouse_is_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    setup = Setup()
    setup.broker.send(message(0))
    setup.clickhouse.errors = [away()]
    setup.step(2)
    setup.broker.send(message(1), to=P1)
    setup.step_for(2)
    assert setup.kafka.paused_partitions == set()
    assert setup.clickhouse.blocks == [[row(0)], [row(1)]]
    assert "ClickHouse is back" in lines(caplog, logging.INFO)


# Records and rows that are skipped


def test_each_invalid_record_is_reported_and_its_neighbours_are_stored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    setup = Setup()
    setup.broker.send(message(0), b"x", message(1), to=P1)
    setup.broker.send(None, to=P2)
    setup.step(2)
    assert setup.clickhouse.blocks == [[row(0), row(1)]]
    assert setup.broker.committed == {P0: 0, P1: 3, P2: 1}
    assert lines(caplog) == [
        "skipped topic transactions_agg partition 1 offset 1:"
        " not JSON: Expecting value: line 1 column 1 (char 0)",
        "skipped topic transactions_agg partition 2 offset 0: no value (a tombstone)",
    ]


def test_too_many_invalid_records_in_a_row_stop_the_service_before_they_are_committed() -> None:
    setup = Setup()
    setup.broker.send(message(), *[b"x"] * consumer.MAX_CONSECUTIVE_INVALID)
    with pytest.raises(TooManyInvalid, match="1000 records in a row"):
        setup.step_for(10)
    assert (setup.clickhouse.attempts, setup.kafka.commits) == ([], [])


def test_a_valid_record_between_invalid_ones_keeps_the_service_going() -> None:
    setup = Setup()
    almost = [b"x"] * (consumer.MAX_CONSECUTIVE_INVALID - 1)
    setup.broker.send(*almost, message(), *almost)
    setup.step_for(10)
    assert setup.clickhouse.blocks == [[row()]]
    assert setup.broker.committed[P0] == 2 * len(almost) + 1


@pytest.mark.parametrize(
    "refusal",
    [
        ServerException("DB::Exception: Constraint `c` is violated.", VIOLATED_CONSTRAINT),
        TypeMismatchError("Type mismatch in VALUES section."),
        AttributeError("'int' object has no attribute 'encode'"),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("refused", [{0}, {6}, {2, 3}, {0, 3, 6}])
def test_a_refused_row_is_reported_and_its_neighbours_are_stored(
    caplog: pytest.LogCaptureFixture, refused: set[int], refusal: Exception
) -> None:
    setup = Setup()
    setup.clickhouse.refusal = refusal
    setup.clickhouse.refuses = lambda each: each in {row(minute) for minute in refused}
    setup.broker.send(*(message(minute) for minute in range(7)))
    setup.step(2)
    stored = [each for block in setup.clickhouse.blocks for each in block]
    assert stored == [row(minute) for minute in range(7) if minute not in refused]
    assert setup.broker.committed == {P0: 7, P1: 0, P2: 0}
    reason = " ".join(str(refusal).split())
    assert lines(caplog) == [
        f"skipped topic {TOPIC} partition 0 offset {offset}: refused by ClickHouse: {reason}"
        for offset in sorted(refused)
    ]


def test_a_refused_row_is_reported_with_its_own_offset_in_later_batches_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    setup = Setup(max_batch_rows=3)
    setup.clickhouse.refuses = lambda each: each == row(4)
    setup.broker.send(*(message(minute) for minute in range(6)))
    setup.step(2)
    assert [line.split(":")[0] for line in lines(caplog)] == [
        "skipped topic transactions_agg partition 0 offset 4"
    ]


@pytest.mark.parametrize("error", SERVER_ERRORS, ids=repr)
def test_an_error_about_the_server_never_costs_a_row_even_while_a_refused_one_is_sought(
    error: Exception,
) -> None:
    setup = Setup()
    setup.clickhouse.refuses = lambda each: each == row(2)
    setup.clickhouse.errors = [None, None, error, None, error]
    setup.broker.send(*(message(minute) for minute in range(5)))
    setup.step_for(30)
    expected = [row(minute) for minute in range(5) if minute != 2]
    assert setup.clickhouse.table == {each.window_start: each for each in expected}
    assert setup.broker.committed == {P0: 5, P1: 0, P2: 0}


def test_too_many_refused_rows_in_a_row_stop_the_service_before_they_are_committed() -> None:
    setup = Setup(max_batch_rows=400)
    setup.clickhouse.refuses = lambda each: True
    setup.broker.send(*(message(minute) for minute in range(1200)))
    with pytest.raises(TooManyInvalid, match="1000 records in a row"):
        setup.step_for(10)
    assert setup.kafka.commits == []


def test_rows_that_are_all_refused_go_with_the_next_ones_until_one_is_stored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    setup = Setup()
    setup.clickhouse.refuses = lambda each: each != row(2)
    for value in (message(0), message(1), b"x"):
        setup.broker.send(value)
        setup.step_for(2)
    assert setup.kafka.commits == []
    setup.broker.send(message(2), message(3))
    setup.step(2)
    assert setup.kafka.commits == [{P0: 5, P1: 0, P2: 0}]
    skipped = [line for line in lines(caplog) if "refused by ClickHouse" in line]
    assert [line.split(":")[0] for line in skipped] == [
        f"skipped topic transactions_agg partition 0 offset {offset}" for offset in (0, 1, 4)
    ]


@pytest.mark.parametrize("max_batch_rows", [1, 100])
def test_a_table_that_was_wrong_for_a_while_costs_no_row(max_batch_rows: int) -> None:
    setup = Setup(max_batch_rows=max_batch_rows)
    setup.clickhouse.refuses = lambda each: True
    for minute in range(3):
        setup.broker.send(message(minute))
        setup.step_for(2)
    attempts = len(setup.clickhouse.attempts)
    setup.step_for(20)
    assert len(setup.clickhouse.attempts) == attempts  # nothing new, nothing to try again with
    setup.clickhouse.refuses = lambda each: False
    setup.broker.send(message(3))
    setup.step_for(2)
    assert set(setup.clickhouse.table.values()) == {row(minute) for minute in range(4)}
    assert setup.broker.committed == {P0: 4, P1: 0, P2: 0}


def test_a_stored_row_between_refused_ones_keeps_the_service_going() -> None:
    setup = Setup()
    almost = consumer.MAX_CONSECUTIVE_INVALID - 1
    setup.clickhouse.refuses = lambda each: each != row(almost)
    setup.broker.send(*(message(minute) for minute in range(2 * almost + 1)))
    setup.step(2)
    assert setup.clickhouse.blocks == [[row(almost)]]
    assert setup.broker.committed[P0] == 2 * almost + 1


# Kafka is away


def test_kafka_away_is_waited_out(caplog: pytest.LogCaptureFixture) -> None:
    setup = Setup()
    setup.kafka.is_away = True
    setup.step_for(21)
    assert (
        lines(caplog)
        == ["waiting for Kafka at localhost:9092 to assign partitions of transactions_agg"] * 4
    )
    setup.kafka.is_away = False
    setup.broker.send(message())
    setup.step(2)
    assert setup.clickhouse.blocks == [[row()]]


def test_a_consumer_without_partitions_says_what_it_waits_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    setup = Setup()
    setup.kafka.assign(set())
    setup.step_for(6)
    assert lines(caplog) == [
        "waiting for Kafka at localhost:9092 to assign partitions of transactions_agg"
    ]


# Stopping


def test_a_stop_flushes_what_is_held_then_commits() -> None:
    setup = Setup()
    setup.broker.send(message(), b"x")
    setup.step()
    setup.stop()
    assert setup.clickhouse.blocks == [[row()]]
    assert setup.kafka.commits == [{P0: 2, P1: 0, P2: 0}]


def test_a_stop_with_nothing_held_does_nothing() -> None:
    setup = Setup()
    setup.stop()
    assert (setup.clickhouse.attempts, setup.kafka.commits) == ([], [])


def test_a_stop_while_clickhouse_is_away_ends_at_once_and_commits_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    setup = Setup()
    setup.broker.send(message())
    setup.clickhouse.error = away()
    setup.step(2)
    attempts = len(setup.clickhouse.attempts)
    setup.stop()
    assert len(setup.clickhouse.attempts) == attempts
    assert setup.kafka.commits == []
    assert lines(caplog)[-1] == "1 rows are not stored and will come again"


def test_a_stop_that_finds_clickhouse_away_tries_once_and_commits_nothing() -> None:
    setup = Setup()
    setup.broker.send(message())
    setup.step()
    setup.clickhouse.error = away()
    setup.stop()
    assert setup.clickhouse.attempts == [[row()]]
    assert setup.kafka.commits == []


# What is told to people and machines


def test_one_line_in_ten_seconds_sums_up_what_was_done(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    setup = Setup(max_batch_rows=2)
    setup.broker.send(message(0), message(1), message(2), b"x", to=P0)
    setup.step_for(30)
    setup.broker.send(message(3, orders=2), to=P1)
    setup.step_for(10)
    assert [line for line in lines(caplog, logging.INFO) if "skipped topic" not in line] == [
        f"stored 3 rows in 2 inserts, skipped 1 records, lag 0, last window {row(2).window_start}",
        f"stored 1 rows in 1 inserts, skipped 0 records, lag 0, last window {row(3).window_start}",
    ]


def test_the_lag_is_what_is_not_polled_yet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    setup = Setup(max_batch_rows=2)
    setup.broker.send(*(message(minute) for minute in range(10)), to=P0)
    setup.broker.send(message(10), to=P1)
    setup.clock.now = 60
    setup.step()
    assert lines(caplog, logging.INFO) == [
        f"stored 2 rows in 1 inserts, skipped 0 records, lag 9, last window {row(1).window_start}"
    ]


def test_a_consumer_that_gets_nothing_though_there_are_records_gives_up() -> None:
    setup = Setup()
    setup.kafka.paused_partitions.add(P0)  # stands for a fetcher that has lost its partition
    setup.broker.send(message())
    with pytest.raises(Stuck, match="lag 1, but nothing polled"):
        setup.step_for(60)
    assert 20 <= setup.clock.now < 40


def test_a_backlog_that_shrinks_or_waits_for_others_is_not_stuck() -> None:
    setup = Setup(max_batch_rows=1)
    setup.broker.send(*(message(minute) for minute in range(12)))
    for _ in range(4):
        setup.step()
        setup.clock.now += 10  # as if each insert took that long
    setup.clickhouse.error = away()
    setup.step_for(120)
    setup.clickhouse.error = None
    setup.step_for(1)
    setup.kafka.is_away = True
    setup.step_for(120)
    setup.kafka.is_away = False
    for _ in range(4):  # now and then nothing comes in time, though there is something
        setup.kafka.paused_partitions.add(P0)
        setup.step_for(20)
        setup.kafka.paused_partitions.clear()
        setup.step()
        setup.clock.now += 10
    setup.step_for(60)
    assert len(setup.clickhouse.table) == 12


def test_the_health_file_is_touched_at_most_once_a_second(tmp_path: Path) -> None:
    health_file = tmp_path / "health"
    setup = Setup(health_file=str(health_file))
    setup.step()
    health_file.unlink()
    setup.clock.now += 0.9
    setup.broker.send(message())
    setup.step()
    assert not health_file.exists()
    setup.step()
    assert health_file.exists()


def test_the_health_file_is_not_touched_while_rows_wait_for_clickhouse(tmp_path: Path) -> None:
    health_file = tmp_path / "health"
    setup = Setup(health_file=str(health_file))
    setup.broker.send(message())
    setup.step()
    health_file.unlink()
    setup.clickhouse.error = away()
    setup.step_for(60)
    assert not health_file.exists()
    setup.clickhouse.error = None
    setup.step_for(11)
    assert health_file.exists()


# Settings and start


def test_settings_have_defaults_of_the_local_stack() -> None:
    assert (
        Config.from_env({})
        == Config.from_env({"MAX_BATCH_ROWS": ""})
        == Config(
            kafka_bootstrap_servers="localhost:9092",
            agg_topic="transactions_agg",
            consumer_group="clickhouse-consumer",
            max_batch_rows=10_000,
            flush_interval_sec=0.1,
            clickhouse_host="localhost",
            clickhouse_port=9000,
            clickhouse_user="consumer",
            clickhouse_password="MySecret",
            clickhouse_database="default",
            clickhouse_table="aggregated_analytics",
            health_file="",
        )
    )


def test_every_setting_comes_from_its_variable(tmp_path: Path) -> None:
    env = {
        "KAFKA_BOOTSTRAP_SERVERS": "kafka-1:29092,kafka-2:29092",
        "AGG_TOPIC": "agg.v2",
        "CONSUMER_GROUP": "other group",
        "MAX_BATCH_ROWS": "1",
        "FLUSH_INTERVAL_SEC": "2.5",
        "CLICKHOUSE_HOST": "clickhouse-server",
        "CLICKHOUSE_PORT": "19000",
        "CLICKHOUSE_USER": "u",
        "CLICKHOUSE_PASSWORD": "p",
        "CLICKHOUSE_DATABASE": "d",
        "CLICKHOUSE_TABLE": "_t1",
        "HEALTH_FILE": str(tmp_path / "health"),
    }
    found = Config.from_env({**env, "PATH": "/bin"})
    assert {name.upper(): str(value) for name, value in vars(found).items()} == env


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("KAFKA_BOOTSTRAP_SERVERS", "localhost", "host:port[,host:port]"),
        ("KAFKA_BOOTSTRAP_SERVERS", "a:1, b:2", "host:port[,host:port]"),
        ("AGG_TOPIC", "a topic", "a name of letters, digits and ._-"),
        ("MAX_BATCH_ROWS", "0", "a whole number from 1 to 1000000"),
        ("MAX_BATCH_ROWS", "1000001", "a whole number from 1 to 1000000"),
        ("MAX_BATCH_ROWS", "1.5", "a whole number from 1 to 1000000"),
        ("FLUSH_INTERVAL_SEC", "-1", "a number of seconds from 0 to 60"),
        ("FLUSH_INTERVAL_SEC", "nan", "a number of seconds from 0 to 60"),
        ("FLUSH_INTERVAL_SEC", "soon", "a number of seconds from 0 to 60"),
        ("CLICKHOUSE_PORT", "0", "a port from 1 to 65535"),
        ("CLICKHOUSE_PORT", "65536", "a port from 1 to 65535"),
        ("CLICKHOUSE_DATABASE", "1db", "a name of letters, digits and _"),
        ("CLICKHOUSE_TABLE", "t` VALUES (1) --", "a name of letters, digits and _"),
        ("CLICKHOUSE_TABLE", "täble", "a name of letters, digits and _"),
        ("HEALTH_FILE", "/does/not/exist/health", "a file in a folder that exists"),
    ],
)
def test_a_wrong_setting_names_the_variable_and_what_is_allowed(
    variable: str, value: str, allowed: str
) -> None:
    with pytest.raises(ConfigError) as error:
        Config.from_env({variable: value})
    assert str(error.value) == f"{variable} must be {allowed}, not {value!r}"


def test_a_wrong_setting_is_one_line_and_exit_status_2() -> None:
    result = subprocess.run(
        [sys.executable, consumer.__file__],
        env={**os.environ, "MAX_BATCH_ROWS": "many"},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ERROR MAX_BATCH_ROWS must be a whole number"
        r" from 1 to 1000000, not 'many'\n",
        result.stderr,
    )


@pytest.fixture
def main_setup(monkeypatch: pytest.MonkeyPatch) -> Setup:
    """main() with fakes instead of connections, and a stop that was asked for at once."""
    setup, stop = Setup(), Event()
    stop.set()
    monkeypatch.setattr(consumer, "set_up_logging", lambda: None)
    monkeypatch.setattr(consumer, "stop_on_signals", lambda: stop)
    monkeypatch.setattr(consumer, "connect_kafka", lambda config: setup.kafka)
    monkeypatch.setattr(consumer, "connect_clickhouse", lambda config: setup.clickhouse)
    return setup


def test_the_settings_are_logged_once_without_the_password(
    main_setup: Setup, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("CLICKHOUSE_PASSWORD", "hush")
    monkeypatch.setenv("CLICKHOUSE_HOST", "server-7")
    assert consumer.main() == 0
    assert main_setup.kafka.is_closed
    assert caplog.text.count("server-7") == 1
    assert "hush" not in caplog.text


def test_too_many_invalid_records_end_in_one_line_and_exit_status_1(
    main_setup: Setup, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(consumer, "stop_on_signals", Event)
    main_setup.broker.send(*[b"x"] * 1000)
    assert consumer.main() == 1
    assert main_setup.kafka.is_closed
    assert main_setup.kafka.commits == []
    assert lines(caplog, logging.ERROR) == [
        "refused 1000 records in a row: wrong code, not bad data"
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_to_stop_and_the_second_ends_the_process(number: int) -> None:
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        stop = consumer.stop_on_signals()
        assert not stop.is_set()
        signal.raise_signal(number)
        assert stop.is_set()
        assert {signal.getsignal(each) for each in before} == {signal.SIG_DFL}
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def test_the_settings_that_the_promise_rests_on(monkeypatch: pytest.MonkeyPatch) -> None:
    used: dict[str, dict[str, Any]] = {}
    monkeypatch.setattr(consumer, "KafkaConsumer", lambda *_, **kwargs: used.update(kafka=kwargs))
    monkeypatch.setattr(table, "Client", lambda *_, **kwargs: used.update(clickhouse=kwargs))
    consumer.connect_kafka(Config())
    table.connect_clickhouse(Config())
    assert used["kafka"]["enable_auto_commit"] is False
    assert used["kafka"]["auto_offset_reset"] == "earliest"
    assert used["kafka"]["group_id"] == "clickhouse-consumer"
    assert used["kafka"]["session_timeout_ms"] < 10_000  # how long a killed consumer holds up all
    assert used["clickhouse"]["settings"] == {"async_insert": 0}
    assert used["clickhouse"]["send_receive_timeout"] < 60  # far below max.poll.interval.ms


def test_a_rejoin_is_wanted_until_it_is_done() -> None:
    kafka = consumer.connect_kafka(Config(kafka_bootstrap_servers="localhost:1"))
    try:
        coordinator = kafka._coordinator
        coordinator.rejoin_needed = False  # it has joined before there was a partition to assign
        coordinator._joined_subscription = {TOPIC}
        coordinator._assignment_snapshot = {TOPIC: set()}
        coordinator._metadata_snapshot = {TOPIC: {0, 1, 2}}
        assert coordinator.need_rejoin()
        coordinator._assignment_snapshot = coordinator._metadata_snapshot  # as a leader's join does
        assert coordinator.need_rejoin()
    finally:
        kafka.close()


# Any faults in any order


class Fate(NamedTuple):
    """What becomes of a call: whether it happens, and what the caller hears."""

    happens: bool
    error: BaseException | None


GOES_WELL = Fate(True, None)
KILLED_BEFORE, KILLED_AFTER = Fate(False, Killed()), Fate(True, Killed())
POLL_FATES = [GOES_WELL, KILLED_BEFORE, KILLED_AFTER, Fate(False, KafkaConnectionError())]
COMMIT_FATES = [
    *(GOES_WELL, KILLED_BEFORE, KILLED_AFTER),
    *(Fate(happens, error) for happens in (True, False) for error in (KafkaTimeoutError(),)),
    Fate(False, CommitFailedError()),
]
INSERT_FATES = [
    *(GOES_WELL, KILLED_BEFORE, KILLED_AFTER),
    *(Fate(happens, EOFError()) for happens in (True, False)),
    Fate(False, ServerException("Too many parts", TOO_MANY_PARTS)),
]


class Faults(RuleBasedStateMachine):
    """Two consumers of one group lose any call, die at any point and pass partitions around."""

    def __init__(self) -> None:
        super().__init__()
        self.clock, self.broker = FakeClock(), Broker()
        self.server = FakeClickHouse(self.clock)
        self.fates: dict[str, list[Fate]] = {"poll": [], "commit": [], "execute": []}
        self.truth: dict[datetime, Row] = {}
        self.loaders = [self.started({P0, P1, P2}), self.started(set())]

    def started(self, partitions: set[TopicPartition]) -> Loader:
        kafka, clickhouse = FakeKafka(self.broker, self.clock), FakeClickHouse(self.clock)
        kafka.assign(partitions)
        clickhouse.table = self.server.table
        for fake, name in ((kafka, "poll"), (kafka, "commit"), (clickhouse, "execute")):
            setattr(fake, name, self.doubtful(getattr(fake, name), self.fates[name]))
        return Loader(kafka, clickhouse, Config(max_batch_rows=3), self.clock)

    def doubtful(self, call: Callable[..., Any], fates: list[Fate]) -> Callable[..., Any]:
        def fated_call(*args: Any, **kwargs: Any) -> Any:
            happens, error = fates.pop() if fates else GOES_WELL
            answer = call(*args, **kwargs) if happens else None
            if error:
                raise error
            return answer

        return fated_call

    @rule(minute=st.integers(0, 5), orders=st.integers(1, 9))
    def update_a_window(self, minute: int, orders: int) -> None:
        self.broker.send(message(minute, orders), to=TopicPartition(TOPIC, minute % 3))
        update = row(minute, orders)
        self.truth[update.window_start] = max(
            update, self.truth.get(update.window_start, update), key=lambda each: each.total_orders
        )

    @rule(partition=st.sampled_from([P0, P1, P2]), value=st.sampled_from([None, b"x"]))
    def send_garbage(self, partition: TopicPartition, value: bytes | None) -> None:
        self.broker.send(value, to=partition)

    @rule(
        number=st.integers(0, 1),
        steps=st.integers(1, 3),
        polls=st.lists(st.sampled_from(POLL_FATES), max_size=3),
        commits=st.lists(st.sampled_from(COMMIT_FATES), max_size=2),
        inserts=st.lists(st.sampled_from(INSERT_FATES), max_size=2),
        is_stopped=st.booleans(),
    )
    def run_a_consumer(
        self,
        number: int,
        steps: int,
        polls: list[Fate],
        commits: list[Fate],
        inserts: list[Fate],
        is_stopped: bool,
    ) -> None:
        for name, fates in {"poll": polls, "commit": commits, "execute": inserts}.items():
            self.fates[name][:] = fates
        loader, stop = self.loaders[number], Event()
        stop.set()
        try:
            for _ in range(steps):
                loader.step()
            if is_stopped:
                loader.run(stop)
                raise Killed
        except Killed:
            self.loaders[number] = self.started(loader.kafka.assignment())
        for fates in self.fates.values():
            fates.clear()

    @rule(owners=st.tuples(*[st.integers(0, 1)] * 3))
    def rebalance(self, owners: tuple[int, ...]) -> None:
        for number, loader in enumerate(self.loaders):
            loader.kafka.assign({TopicPartition(TOPIC, p) for p in range(3) if owners[p] == number})

    @invariant()
    def nothing_committed_is_missing_from_the_table(self) -> None:
        for partition, end in self.broker.committed.items():
            for value in self.broker.logs[partition][:end]:
                if value not in (None, b"x"):
                    committed = parse(value)
                    stored = self.server.table[committed.window_start]
                    assert stored.total_orders >= committed.total_orders

    def teardown(self) -> None:
        for _ in range(60):
            for loader in self.loaders:
                loader.step()
        assert self.server.table == self.truth
        ends = {partition: len(values) for partition, values in self.broker.logs.items()}
        assert all(self.broker.committed.get(p, 0) == end for p, end in ends.items())


TestFaults = Faults.TestCase
TestFaults.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
