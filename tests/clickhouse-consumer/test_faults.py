"""Any faults in any order: no record is lost, and the table ends up right."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

import hypothesis
from clickhouse_driver.errors import ServerException
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from kafka.errors import CommitFailedError, KafkaConnectionError, KafkaTimeoutError
from kafka.structs import TopicPartition

from builders import message, row
from fakes import P0, P1, P2, TOO_MANY_PARTS, TOPIC, Broker, FakeClock
from harness import Harness
from message import Row, parse
from settings import Settings


class Killed(BaseException):
    """The process ends here: nothing of the consumer runs any more."""


class Fate(NamedTuple):
    """What becomes of a call: whether it takes effect, and what it raises."""

    takes_effect: bool
    error: BaseException | None


GOES_WELL = Fate(True, None)
KILLED_BEFORE, KILLED_AFTER = Fate(False, Killed()), Fate(True, Killed())
POLL_FATES = [GOES_WELL, KILLED_BEFORE, KILLED_AFTER, Fate(False, KafkaConnectionError())]
COMMIT_FATES = [
    *(GOES_WELL, KILLED_BEFORE, KILLED_AFTER),
    *(Fate(takes_effect, KafkaTimeoutError()) for takes_effect in (True, False)),
    Fate(False, CommitFailedError()),
]
INSERT_FATES = [
    *(GOES_WELL, KILLED_BEFORE, KILLED_AFTER),
    *(Fate(takes_effect, EOFError()) for takes_effect in (True, False)),
    Fate(False, ServerException("Too many parts", TOO_MANY_PARTS)),
]


class Faults(RuleBasedStateMachine):
    """Two consumers of one group lose calls, are killed anywhere and exchange partitions."""

    def __init__(self) -> None:
        super().__init__()
        self.settings = Settings(max_batch_rows=3)
        self.clock, self.broker = FakeClock(), Broker()
        self.table: dict[datetime, Row] = {}
        self.truth: dict[datetime, Row] = {}
        self.fates: dict[str, list[Fate]] = {"poll": [], "commit": [], "execute": []}
        self.consumers = [self.started({P0, P1, P2}), self.started(set())]

    def started(self, partitions: set[TopicPartition]) -> Harness:
        consumer = Harness(self.settings, self.broker, self.clock)
        consumer.kafka.assign(partitions)
        consumer.clickhouse.table = self.table
        calls = ((consumer.kafka, "poll"), (consumer.kafka, "commit"))
        for fake, name in (*calls, (consumer.clickhouse, "execute")):
            setattr(fake, name, self.with_fates(getattr(fake, name), self.fates[name]))
        return consumer

    def with_fates(self, call: Callable[..., Any], fates: list[Fate]) -> Callable[..., Any]:
        def fated_call(*args: Any, **kwargs: Any) -> Any:
            takes_effect, error = fates.pop() if fates else GOES_WELL
            answer = call(*args, **kwargs) if takes_effect else None
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
        consumer = self.consumers[number]
        try:
            consumer.step(steps)
            if is_stopped:
                consumer.loader.finish()
                raise Killed
        except Killed:
            self.consumers[number] = self.started(consumer.kafka.assignment())
        for fates in self.fates.values():
            fates.clear()

    @rule(owners=st.tuples(*[st.integers(0, 1)] * 3))
    def rebalance(self, owners: tuple[int, ...]) -> None:
        for number, consumer in enumerate(self.consumers):
            owned = {TopicPartition(TOPIC, p) for p in range(3) if owners[p] == number}
            consumer.kafka.assign(owned)

    @invariant()
    def nothing_committed_is_missing_from_the_table(self) -> None:
        for partition, end in self.broker.committed.items():
            for value in self.broker.logs[partition][:end]:
                if value not in (None, b"x"):
                    committed = parse(value)
                    stored = self.table[committed.window_start]
                    assert stored.total_orders >= committed.total_orders

    def teardown(self) -> None:
        for _ in range(60):
            for consumer in self.consumers:
                consumer.step()
        assert self.table == self.truth
        ends = {partition: len(values) for partition, values in self.broker.logs.items()}
        assert all(self.broker.committed.get(p, 0) == end for p, end in ends.items())


TestFaults = Faults.TestCase
TestFaults.settings = hypothesis.settings(max_examples=80, stateful_step_count=30, deadline=None)
