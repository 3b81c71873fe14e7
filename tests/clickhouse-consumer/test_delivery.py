"""What the delivery promise rests on, tried on the fakes and on the real Kafka and ClickHouse."""

import pytest

import loader as loader_module
import topic
from builders import row
from loader import State
from message import Row, parse
from pairs import DEADLINE_SEC, Pair, join, polled_records, step_until, update, window
from settings import Settings
from table import NotAcknowledged, RowRefused, Table, insert_block, insert_statement
from waiting import eventually

NEVER = 60  # seconds until a flush, more than a test takes
REFUSED = row()._replace(total_orders=-1)  # the column cannot hold it
CARELESS = b"lets a negative number of orders pass"


def careless_parse(value: bytes | None) -> Row:
    """A parse() with a bug."""
    return REFUSED if value == CARELESS else parse(value)


def test_the_table_has_the_rows_that_were_sent(pair: Pair) -> None:
    for minute in range(30):
        pair.send(update(pair, minute, orders=minute + 1), to=minute % 3)
    pair.send(b"x", None, to=1)
    loader = pair.loader(pair.new_consumer(), pair.new_client(), max_batch_rows=7)
    step_until(loader, lambda: pair.committed() == [10, 12, 10], "all is committed")
    assert pair.windows() == [window(pair, minute, minute + 1) for minute in range(30)]
    assert (loader.totals.polled, loader.totals.stored) == (32, 30)
    assert loader.totals.skipped == {"malformed": 2}
    assert topic.lag(loader.kafka) == 0


def test_offsets_are_committed_only_after_the_insert(pair: Pair) -> None:
    pair.send(update(pair, 0), update(pair, 1))
    loader = pair.loader(pair.new_consumer(), pair.new_client(), flush_interval_sec=NEVER)
    step_until(loader, lambda: len(loader.rows) == 2, "both records are polled")
    assert (pair.windows(), pair.committed()) == ([], [0, 0, 0])
    loader.finish()
    assert pair.windows() == [window(pair, 0), window(pair, 1)]
    assert pair.committed() == [2, 0, 0]


def test_what_is_not_committed_is_read_again(pair: Pair) -> None:
    kafka = pair.new_consumer()
    pair.send(*(update(pair, minute) for minute in range(5)))
    loader = pair.loader(kafka, pair.new_client(), max_batch_rows=2, flush_interval_sec=NEVER)
    step_until(loader, lambda: loader.totals.polled == 5, "all records are polled")
    assert pair.committed() == [4, 0, 0]
    pair.kill(kafka)

    successor = pair.loader(pair.new_consumer(), pair.new_client())
    step_until(successor, lambda: pair.committed() == [5, 0, 0], "all is committed")
    assert successor.totals.polled == 1
    assert pair.windows() == [window(pair, minute) for minute in range(5)]


def test_a_commit_covers_what_polls_returned_and_no_more(pair: Pair) -> None:
    kafka = pair.new_consumer()
    join(kafka)
    pair.send(*(update(pair, minute) for minute in range(10)))
    assert polled_records(kafka, 4) == [(0, 0), (0, 1), (0, 2), (0, 3)]
    topic.commit(kafka)
    assert pair.committed() == [4, 0, 0]
    assert topic.lag(kafka) == 6


def test_the_lag_is_the_number_of_records_not_polled_yet(pair: Pair) -> None:
    kafka = pair.new_consumer()
    join(kafka)
    assert topic.lag(kafka) == 0
    pair.send(update(pair, 0), None, b"x", to=0)
    pair.send(update(pair, 1), to=2)
    assert topic.lag(kafka) == 4


def test_a_pause_keeps_membership_and_position_until_it_is_resumed(pair: Pair) -> None:
    kafka = pair.new_consumer()
    join(kafka)
    pair.send(update(pair, 0), update(pair, 1))
    assert polled_records(kafka, 1) == [(0, 0)]
    topic.pause(kafka)
    pair.send(update(pair, 2), to=1)
    for _ in range(5):
        assert topic.poll(kafka, 0.1, 10) == []
    assert kafka.assignment() == set(pair.partitions)
    assert kafka.paused() == set(pair.partitions)
    assert topic.lag(kafka) == 2
    topic.resume(kafka)
    assert sorted(polled_records(kafka, 2)) == [(0, 1), (1, 0)]


def test_a_partition_that_stays_assigned_keeps_its_position_and_stays_paused(pair: Pair) -> None:
    first = pair.new_consumer()
    join(first)
    for partition in range(3):
        pair.send(update(pair, partition), to=partition)
    assert sorted(polled_records(first, 3)) == [(0, 0), (1, 0), (2, 0)]
    topic.pause(first)
    second = pair.new_consumer()
    polled = [(record.partition, record.offset) for record in pair.share(first, second)]
    kept, moved = first.assignment(), second.assignment()
    polled += polled_records(second, len(moved) - len(polled))
    assert sorted(polled) == [(p.partition, 0) for p in sorted(moved)]  # nothing was committed
    assert first.paused() == kept
    assert [first.position(p, timeout_ms=1000) for p in kept] == [1] * len(kept)
    topic.commit(first)
    assert pair.committed() == [1 if p in kept else 0 for p in pair.partitions]


def test_an_outage_of_clickhouse_keeps_the_partitions_and_the_rows(pair: Pair) -> None:
    kafka = pair.new_consumer()
    join(kafka)
    loader = pair.loader(kafka, pair.new_client_without_server())
    pair.send(update(pair, 0))
    # Not a step, which also checks ClickHouse: without it, it would poll no records.
    eventually(lambda: loader.poll() or loader.rows, "the record is polled", DEADLINE_SEC, 0)
    step_until(loader, lambda: loader.state is State.RETRYING, "ClickHouse is away")
    pair.send(update(pair, 1), to=1)
    step_until(loader, lambda: loader.retry_sec == 2, "three attempts have failed")
    assert kafka.assignment() == kafka.paused() == set(pair.partitions)
    assert (loader.rows, pair.committed()) == ([window(pair, 0)], [0, 0, 0])
    loader.table.clickhouse = pair.new_client()
    step_until(loader, lambda: pair.committed() == [1, 1, 0], "all is committed")
    assert kafka.paused() == set()
    assert pair.windows() == [window(pair, 0), window(pair, 1)]


def test_an_insert_is_acknowledged_with_its_number_of_rows(pair: Pair) -> None:
    clickhouse, statement = pair.new_client(), insert_statement(Settings())
    assert clickhouse.execute(statement, []) == 0
    assert pair.windows() == []
    assert clickhouse.execute(statement, [window(pair, 0), window(pair, 1)]) == 2
    assert pair.windows() == [window(pair, 0), window(pair, 1)]


def test_of_each_window_a_select_sees_the_row_with_the_most_orders(pair: Pair) -> None:
    clickhouse, statement = pair.new_client(), insert_statement(Settings())
    insert_block(clickhouse, statement, [window(pair, 0, 1), window(pair, 0, 3)])
    insert_block(clickhouse, statement, [window(pair, 0, 3), window(pair, 1, 1)])
    insert_block(clickhouse, statement, [window(pair, 0, 2), window(pair, 1, 2)])
    assert pair.windows() == [window(pair, 0, 3), window(pair, 1, 2)]


def test_a_refused_block_is_not_stored_and_the_client_works_on(pair: Pair) -> None:
    clickhouse, statement = pair.new_client(), insert_statement(Settings())
    with pytest.raises(RowRefused):
        insert_block(clickhouse, statement, [window(pair, 0), REFUSED])
    assert pair.windows() == []
    insert_block(clickhouse, statement, [window(pair, 1)])
    assert pair.windows() == [window(pair, 1)]


def test_an_insert_without_a_server_is_not_acknowledged(pair: Pair) -> None:
    with pytest.raises(NotAcknowledged):
        Table(pair.new_client_without_server(), Settings()).insert([window(pair)])


def test_a_refused_row_is_isolated_and_its_neighbours_are_stored(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loader_module, "parse", careless_parse)
    pair.send(*(update(pair, minute) for minute in range(3)), CARELESS, update(pair, 3))
    loader = pair.loader(pair.new_consumer(), pair.new_client(), max_batch_rows=5)
    step_until(loader, lambda: pair.committed() == [5, 0, 0], "all is committed")
    assert pair.windows() == [window(pair, minute) for minute in range(4)]
    assert (loader.totals.stored, loader.totals.skipped.total()) == (4, 1)
    assert "partition 0 offset 3: refused by ClickHouse: " in caplog.text
