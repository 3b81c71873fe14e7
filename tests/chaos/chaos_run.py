"""One run: traffic, faults, a reader who watches the table, and the recomputation at the end."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from kafka.errors import KafkaError

from faults import Fault, recovering, schedule
from freshness import Freshness
from injection import Injector
from lag import group_lag
from looper import Looper
from pipeline import Pipeline
from polling import eventually_matches
from raw_topic import RawTopic, Record
from reader import Reader
from rejected import verdict_on
from stack import Stack
from traffic import Noise, Producer
from verdicts import Verdicts
from verify import fetch_rows
from windows import Expected, Row, compare

WATERMARK = timedelta(minutes=10)
NOISE_PER_SEC = 20
POLL_SEC = 0.2
RECOVERY_DEADLINE_SEC = 180
SETTLE_DEADLINE_SEC = 300
SAME_ANSWERS = 3
GIVE_UP_ANSWERS = 30  # if the answer stays wrong


class ChaosRun:
    """A run on one stack, which has to be up. `rate` is the producer's, in records per second.

    Other kinds of runs are classes on top of this one, which `chaos.RUNS` lists.
    """

    @classmethod
    def missing(cls) -> str:
        """What this machine lacks for such a run, for a person; nothing if it can run."""
        return ""

    @classmethod
    @contextmanager
    def surroundings(cls, stack: Stack, seed: int) -> Iterator[dict[str, str]]:
        """What must be there before the stack starts and until it has stopped, such as disks.

        Yields variables for the environment of all services. The folder of the stack is empty.
        """
        yield {}

    def __init__(self, stack: Stack, seed: int, rate: float, deduplicate: bool) -> None:
        self.stack, self.seed = stack, seed
        self.pipeline = Pipeline(stack)
        self.readers = [
            Reader(stack, Freshness(Expected(WATERMARK, deduplicate)), number)
            for number in range(1, stack.instances("clickhouse-server") + 1)
        ]
        self.expected = self.readers[0].freshness.expected
        self.judged = Verdicts()
        self.raw = RawTopic(self.pipeline.bootstrap_servers, "transactions_raw")
        self.producer = Producer(stack, seed, rate)
        self.noise = Noise(stack, seed)
        self.injector = Injector(stack, self.producer)
        self.faults = schedule(random.Random(seed))
        self.done: list[dict[str, Any]] = []
        self.lost_orders = 0  # that the table counts and Kafka has lost, which a fault may explain
        self.start = time.monotonic()

    def inflict_faults(self, is_enough: Callable[[int], bool]) -> None:
        """Inflict faults until `is_enough(their number)`. Raises NotRecovered."""
        with (
            self.noise,
            self.producer,
            Looper(self.read_raw, POLL_SEC),
            Looper(self.noise.send, 1 / NOISE_PER_SEC),
            Looper(self.producer.keep_running, POLL_SEC),
            ExitStack() as reading,
        ):
            for reader in self.readers:
                reading.enter_context(Looper(reader.poll, POLL_SEC))
            self.wait_until_counted(datetime.now(UTC), "start")
            while not is_enough(len(self.done)):
                self.inflict_and_wait(next(self.faults))

    def read_raw(self) -> None:
        with suppress(KafkaError):  # the broker is away
            for record in self.raw.read_new():
                self.note(record)

    def note(self, record: Record) -> None:
        """Take note of a record of the raw topic; called once for each."""
        for reader in self.readers:
            reader.freshness.arrived(record.value, record.arrival)
        self.judged.add(record.partition, record.offset, verdict_on(record, WATERMARK))

    def inflict_and_wait(self, fault: Fault) -> None:
        """Inflict a fault and wait until the pipeline has recovered. Raises NotRecovered."""
        for reader in self.readers:
            reader.may_fail = reader.component in fault.components
        begun = time.monotonic()
        over_at = self.injector.inflict(fault)
        lasted_sec = time.monotonic() - begun
        recovery_sec = self.wait_until_counted(over_at, str(fault))
        for reader in self.readers:
            reader.may_fail = False
        self.done.append(
            {
                "kind": fault.kind,
                "components": fault.components,
                "lasted_sec": round(lasted_sec, 1) if fault.seconds else 0,
                "recovery_sec": round(recovery_sec, 1),
                **self.injector.notes,
            }
        )
        elapsed_sec = time.monotonic() - self.start
        number = len(self.done)
        say(f"{elapsed_sec:5.0f} s  {number:3}  {fault}: recovered in {recovery_sec:.1f} s")

    def wait_until_counted(self, moment: datetime, what: str) -> float:
        """Wait until every table counts an order that reached Kafka after `moment`.

        Returns how many seconds that took. Raises NotRecovered, which names `what` happened.
        """
        start = time.monotonic()
        with recovering():
            eventually_matches(
                lambda: min(reader.counted_until for reader in self.readers),
                lambda counted_until: counted_until > moment,
                f"after {what}, an order from after {moment:%H:%M:%S} UTC is counted",
                RECOVERY_DEADLINE_SEC,
                POLL_SEC / 2,
            )
        return time.monotonic() - start

    def findings(self) -> dict[str, Any]:
        """What else the result of this kind of run contains, ready for JSON."""
        return {}

    def settle(self) -> list[str]:
        """Wait until nothing is under way, then compare each table with the recomputation.

        Nothing is under way once the consumers' lag is 0 and several answers in a row are equal.
        Returns what is wrong, also if it has never come to that.
        """
        self.stack.wait_until_healthy(SETTLE_DEADLINE_SEC, say=lambda _: None)
        deadline = time.monotonic() + SETTLE_DEADLINE_SEC
        wrong: list[str] = []
        same, lag, last = 0, 0, None
        while time.monotonic() < deadline:
            tables = [self.read_table(reader) for reader in self.readers]
            expected = self.expected_rows()
            wrong = [
                f"{reader.component}: {kind} {start:%Y-%m-%dT%H:%MZ} {detail}"
                for reader, rows in zip(self.readers, tables, strict=True)
                for kind, start, detail in compare(expected, rows)
            ]
            lag = self.consumer_lag()
            answer = (lag, [sorted(rows) for rows in tables])
            same = same + 1 if answer == last else 0
            last = answer
            if lag == 0 and same >= (GIVE_UP_ANSWERS if wrong else SAME_ANSWERS):
                return wrong
            time.sleep(1)
        return [*wrong, f"not settled: lag {lag}"]

    def read_table(self, reader: Reader) -> list[Row]:
        rows = fetch_rows(reader.connect(), "aggregated_analytics")
        reader.check(rows)
        return rows

    def consumer_lag(self) -> int:
        return sum(
            group_lag(self.pipeline, reader.group, "transactions_agg") for reader in self.readers
        )

    def expected_rows(self) -> dict[datetime, Row]:
        self.read_raw()
        return {start: window.row(start) for start, window in self.expected.windows.items()}


def say(line: str) -> None:
    print(line, flush=True)
