"""What is sent during a run: the producer's records, and what the producer never makes."""

import os
import random
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from kafka import KafkaProducer
from kafka.errors import KafkaError

from faults import NotRecovered, recovering
from paths import PROJECT, VENV
from records import CORPUS, moved_to, transaction
from stack import Stack
from waiting import eventually

COMMAND = (VENV / "bin" / "python", PROJECT / "producer" / "producer.py")
TOO_LATE = timedelta(minutes=20)  # twice the watermark
DELIVERY_SEC = 60
REPEATABLE = 100  # of the newest valid records


class Producer:
    """The producer, started again whenever it has ended, each time with other records."""

    def __init__(self, stack: Stack, seed: int, rate: float) -> None:
        self.environment = {
            **os.environ,
            **stack.environment(),
            "RATE": str(rate),
            "INVALID_SHARE": "0.05",
            "LATE_SHARE": "0.05",
        }
        self.seed = seed * 1000
        self.log = stack.log_file("producer").open("a")
        self.command: Sequence[Path] = COMMAND
        self.process: psutil.Popen | None = None
        self.group: int | None = None  # of its process, if not that of this one

    def __enter__(self) -> "Producer":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process:
            self.process.terminate()
            if self.process.wait(timeout=DELIVERY_SEC) != 0:
                raise NotRecovered("the producer has not delivered all its records")

    def keep_running(self) -> None:
        """Start it unless it runs; call this again and again."""
        if self.process is None or self.process.poll() is not None:
            self.seed += 1
            self.process = psutil.Popen(
                [*self.command, "--seed", str(self.seed)],
                env=self.environment,
                stderr=self.log,
                start_new_session=True,
                group=self.group,
            )

    def run_from_now_on(self, command: Sequence[Path]) -> None:
        """Stop it; `keep_running` starts this command in its place. Raises NotRecovered."""
        self.command, process = command, self.process
        if process is None:
            return
        process.terminate()
        with recovering():
            eventually(lambda: self.process is not process, "a new producer runs", DELIVERY_SEC)
        if process.returncode != 0:
            raise NotRecovered("the producer has not delivered all its records")

    def processes(self) -> list[psutil.Process]:
        return [self.process] if self.process else []


class Noise:
    """Sends what the producer does not: every record of the corpus, too late ones, repeats."""

    def __init__(self, stack: Stack, seed: int) -> None:
        self.rng = random.Random(seed)
        self.strange: Sequence[bytes] = CORPUS
        self.kafka = KafkaProducer(
            bootstrap_servers=stack.servers("kafka", stack.kafka_port),
            delivery_timeout_ms=2**31 - 1,
            max_block_ms=500,
            reconnect_backoff_max_ms=1000,
        )
        self.sent: deque[bytes] = deque(maxlen=REPEATABLE)
        self.acknowledged = 0

    def __enter__(self) -> "Noise":
        return self

    def __exit__(self, *_: object) -> None:
        self.kafka.close(timeout=30)

    def value(self) -> bytes | None:
        now = datetime.now(UTC)
        kind = self.rng.choice(("strange", "late", "good", "repeat"))
        if kind == "strange":
            return moved_to(now, self.rng.choice(self.strange))
        if kind == "repeat" and self.sent:
            return self.rng.choice(self.sent)
        event_time = now - TOO_LATE if kind == "late" else now
        order_id = f"{self.rng.getrandbits(64):x}"
        value = transaction(order_id=order_id, transaction_time=event_time.isoformat())
        self.sent.append(value)
        return value

    def send(self) -> None:
        """Send one record; none if the broker is away."""
        # All in one partition, as the records of one order are: many strange ones share an order_id
        # and differ in the rest. Which of them is the first is only certain within a partition.
        with suppress(KafkaError):
            sent = self.kafka.send("transactions_raw", self.value(), key=b"noise")
            sent.add_callback(self.on_acknowledged)

    def on_acknowledged(self, _metadata: object) -> None:
        self.acknowledged += 1
