"""Sends endless random purchase transactions to Kafka: one JSON object a record, key = order_id.

Reads only its settings (environment or --flags), writes only the topic RAW_TOPIC. Stated shares of
the records are deliberately bad or late, because everything downstream has to cope with those.

Delivery: acks=all and idempotent, so retries neither lose nor repeat a record. While Kafka is away
it keeps a bounded number of records, waits, and goes on by itself; SIGTERM and Ctrl-C flush first.
A kill -9 loses only what Kafka never acknowledged. Exit code: 0 all records acknowledged, 1 some
not, 2 a setting is wrong. One process fills one core; with PROCESSES=n they share RATE and COUNT.
"""

import argparse
import gc
import itertools
import logging
import multiprocessing
import os
import random
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from threading import Lock, Thread, Timer
from typing import Any, NamedTuple
from zlib import crc32

from faker import Faker
from kafka import KafkaProducer
from kafka.errors import KafkaTimeoutError

logger = logging.getLogger("producer")

PAYMENT_TYPES = ("credit_card", "debit_card", "paypal", "bank_transfer", "cash_on_delivery")

CUSTOMERS = 5_000
PRODUCTS = 100
QUANTITIES = (1, 1, 1, 1, 2, 2, 3, 5)
LATE_MS = (60_000, 300_000)  # well inside the job's 10-minute watermark: late, yet counted

MAX_IN_FLIGHT = 10_000  # kafka-python 3 has no bound: memory would grow while Kafka is away
MAX_CATCH_UP_SEC = 0.5
STATUS_INTERVAL_SEC = 5
FLUSH_TIMEOUT_SEC = 10

SERVERS = re.compile(r"[^\s,]+:\d+(,[^\s,]+:\d+)*")
TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")
# Each is an environment variable and a --flag: default, cast, check, what is allowed.
SETTINGS: dict[str, tuple[str, Callable[[str], Any], Callable[[Any], object], str]] = {
    "KAFKA_BOOTSTRAP_SERVERS": ("localhost:9092", str, SERVERS.fullmatch, "host:port[,host:port]"),
    "RAW_TOPIC": ("transactions_raw", str, TOPIC.fullmatch, "letters, digits, '.', '_' and '-'"),
    "RATE": ("100", float, lambda x: 0 <= x <= 1e6, "0 (no limit) to 1000000 records a second"),
    "COUNT": ("0", int, lambda x: x >= 0, "a whole number of records, 0 for endless"),
    "DURATION_SEC": ("0", float, lambda x: 0 <= x <= 1e9, "0 (endless) to 1000000000 seconds"),
    "SEED": ("", lambda x: int(x) if x else None, lambda _: True, "a whole number, or empty"),
    "INVALID_SHARE": ("0.02", float, lambda x: 0 <= x <= 1, "a number from 0 to 1"),
    "LATE_SHARE": ("0.01", float, lambda x: 0 <= x <= 1, "a number from 0 to 1"),
    "PROCESSES": ("1", int, lambda x: 1 <= x <= 100, "a whole number from 1 to 100"),
}


class ConfigError(ValueError):
    """The message names the setting and what is allowed."""


@dataclass(frozen=True)
class Config:
    kafka_bootstrap_servers: str
    raw_topic: str
    rate: float
    count: int
    duration_sec: float
    seed: int | None
    invalid_share: float
    late_share: float
    processes: int

    @classmethod
    def from_env(cls, env: Mapping[str, str], argv: Sequence[str]) -> "Config":
        """A flag wins over the environment; an empty variable counts as not set."""
        parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
        for name, (default, _, _, allowed) in SETTINGS.items():
            flag = "--" + name.lower().replace("_", "-")
            parser.add_argument(flag, dest=name, default=env.get(name) or default, help=allowed)
        text = vars(parser.parse_args(argv))
        return cls(**{name.lower(): checked(name, text[name]) for name in SETTINGS})


def checked(name: str, text: str) -> Any:
    _, cast, is_allowed, allowed = SETTINGS[name]
    with suppress(ValueError):
        value = cast(text)
        if is_allowed(value):
            return value
    raise ConfigError(f"{name} must be {allowed}; it is {text!r}")


class Pools(NamedTuple):
    """One made-up shop: what the draws for every record choose from."""

    user_ids: list[int]
    products: list[tuple[str, int]]  # (id, price in cents), the popular ones many times over
    remarks: list[str]  # text that is not JSON


class Transaction(NamedTuple):
    """The fields of the contract, in its order; money in cents, never binary float."""

    order_id: str
    user_id: int
    product_id: str
    quantity: int
    price_cents: int
    total_cents: int
    payment_type: str | None
    transaction_time: str


def make_pools(seed: int) -> Pools:
    """Faker makes the shop once, at the start: for every record it would be far too slow."""
    fake = Faker()
    fake.seed_instance(seed)
    catalogue = [(f"P{n:04d}", fake.random_int(199, 29_999)) for n in range(1, PRODUCTS + 1)]
    best_sellers_first = enumerate(fake.random_sample(catalogue, PRODUCTS), start=1)
    return Pools(
        user_ids=[fake.unique.random_int(100_000, 999_999) for _ in range(CUSTOMERS)],
        # Zipf's law: the n-th best seller is drawn 1/n as often as the first.
        products=[product for n, product in best_sellers_first for _ in range(10 * PRODUCTS // n)],
        remarks=[fake.sentence() for _ in range(100)],
    )


def random_uuid(rng: random.Random) -> str:
    """What str(uuid.UUID(int=rng.getrandbits(128), version=4)) gives, in half the time."""
    bits = rng.getrandbits(128) & ~(0xF000_C000 << 48) | (0x4000_8000 << 48)
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@lru_cache(maxsize=1)  # at full speed dozens of records share a millisecond
def iso_utc(epoch_ms: int) -> str:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat(timespec="milliseconds")


@lru_cache(maxsize=10 * PRODUCTS)  # the same few prices all the time
def money(cents: int) -> str:
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"


def make_transaction(rng: random.Random, pools: Pools, epoch_ms: int) -> Transaction:
    product_id, price_cents = rng.choice(pools.products)
    quantity = rng.choice(QUANTITIES)
    return Transaction(
        order_id=random_uuid(rng),
        user_id=rng.choice(pools.user_ids),
        product_id=product_id,
        quantity=quantity,
        price_cents=price_cents,
        total_cents=quantity * price_cents,
        payment_type=rng.choice(PAYMENT_TYPES),
        transaction_time=iso_utc(epoch_ms),
    )


def encode(sale: Transaction) -> bytes:
    """By hand: json.dumps could write 19.90 only from a float, and takes several times as long."""
    payment_type = f'"{sale.payment_type}"' if sale.payment_type else "null"
    return (
        f'{{"order_id":"{sale.order_id}","user_id":{sale.user_id},'
        f'"product_id":"{sale.product_id}","quantity":{sale.quantity},'
        f'"price":{money(sale.price_cents)},"total_amount":{money(sale.total_cents)},'
        f'"payment_type":{payment_type},"transaction_time":"{sale.transaction_time}"}}'
    ).encode()


def encode_badly(rng: random.Random, pools: Pools, sale: Transaction) -> bytes:
    """The only place that makes bad records: one of the four kinds the job has to reject."""
    kinds = (
        encode(sale._replace(payment_type=None)),
        encode(sale._replace(payment_type="gift_card")),
        encode(sale._replace(total_cents=-sale.total_cents)),
        rng.choice(pools.remarks).encode(),
    )
    return rng.choice(kinds)


def make_records(
    config: Config, rng: random.Random, pools: Pools, now: Callable[[], float]
) -> Iterator[tuple[bytes, bytes]]:
    """Endless (key, value) pairs; the same seed gives the same ones, but for the clock."""
    while True:
        epoch_ms = int(now() * 1000)
        if rng.random() < config.late_share:
            epoch_ms -= rng.randint(*LATE_MS)
        sale = make_transaction(rng, pools, epoch_ms)
        is_bad = rng.random() < config.invalid_share
        yield sale.order_id.encode(), encode_badly(rng, pools, sale) if is_bad else encode(sale)


class Pacer:
    """Even steps at `rate` records per second, without drift; rate 0 never pauses."""

    def __init__(self, rate: float, now: float) -> None:
        self._step = 1 / rate if rate else 0.0
        self._due = now

    def pause(self, now: float) -> float:
        """Seconds until the next record is due (none if <= 0); ask once for each record."""
        # A short stall is made up for, so that the rate stays true. After a longer one the missed
        # records are let go: sent at once they would be a burst that no shop ever sees.
        self._due = max(self._due + self._step, now - MAX_CATCH_UP_SEC)
        return self._due - now


class Delivery:
    """Counts what became of the records; kafka-python calls back from a thread of its own."""

    def __init__(self) -> None:
        self.sent = 0
        self.acknowledged = 0
        self.failed = 0
        self.last_error: BaseException | None = None
        self._lock = Lock()

    def on_acknowledged(self, _metadata: object) -> None:
        with self._lock:
            self.acknowledged += 1

    def on_failed(self, error: BaseException) -> None:
        with self._lock:
            self.failed += 1
            self.last_error = error

    @property
    def in_flight(self) -> int:
        return self.sent - self.acknowledged - self.failed

    def is_stalled_since(self, before: "Delivery") -> bool:
        """Records that were on their way before still are, and none has arrived since."""
        settled = self.acknowledged + self.failed
        return settled == before.acknowledged + before.failed < before.sent

    def __str__(self) -> str:
        return f"sent {self.sent}, acknowledged {self.acknowledged}, failed {self.failed}"


class Stop:
    """Asked for by a signal or a timer. Not threading.Event: its lock is not reentrant, so that a
    signal handler that sets it while the main thread is inside wait() can hang for ever."""

    def __init__(self) -> None:
        self.requested = False

    def request(self, signum: int = 0, _frame: object = None) -> None:
        self.requested = True
        if signum:  # the next one ends the process at once
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def wait(self, seconds: float) -> bool:
        """Sleeps in slices, because a signal does not end time.sleep; True once asked to stop."""
        end = time.monotonic() + seconds
        while not self.requested and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
        return self.requested


def new_producer(config: Config) -> KafkaProducer:
    """Returns at once: with api_version given, the background thread connects, and keeps trying."""
    return KafkaProducer(
        bootstrap_servers=config.kafka_bootstrap_servers,
        api_version=(3, 9),  # the newest to speak; an older broker is still understood
        acks="all",
        linger_ms=20,
        batch_size=64 * 1024,
        delivery_timeout_ms=2**31 - 1,  # 24 days: an outage delays records, it never drops them
        max_block_ms=500,  # how long a call may wait for metadata before we look for a stop
        reconnect_backoff_max_ms=1000,
    )


def wait_for_topic(producer: KafkaProducer, config: Config, stop: Stop) -> bool:
    """False if asked to stop before Kafka and the topic were there."""
    servers, topic = config.kafka_bootstrap_servers, config.raw_topic
    for attempt in itertools.count():
        if stop.requested:
            break
        with suppress(KafkaTimeoutError):
            producer.partitions_for(topic)
            return True
        if attempt % 10 == 0:
            logger.warning("waiting for Kafka at %s and its topic %s", servers, topic)
    return False


def send(
    producer: KafkaProducer, topic: str, key: bytes, value: bytes, partition: int, stop: Stop
) -> Any:
    """kafka-python's future; None once asked to stop."""
    while not stop.requested:
        try:
            return producer.send(topic, value, key, partition=partition)
        except KafkaTimeoutError:
            continue  # a broker that has just come back may not know its topics yet
    return None


def produce(
    producer: KafkaProducer,
    records: Iterator[tuple[bytes, bytes]],
    config: Config,
    delivery: Delivery,
    stop: Stop,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Sends COUNT records at RATE and sees them acknowledged, unless asked to stop before."""
    topic = config.raw_topic
    partitions = len(producer.partitions_for(topic))
    pacer = Pacer(config.rate, clock())
    on_acknowledged, on_failed = delivery.on_acknowledged, delivery.on_failed
    for _ in range(config.count) if config.count else itertools.count():
        if (pause := pacer.pause(clock())) > 0:
            stop.wait(pause)
        while delivery.in_flight >= MAX_IN_FLIGHT and not stop.wait(0.01):
            pass
        key, value = next(records)
        # kafka-python's own partitioner, a hash in pure Python, takes longer than making the
        # record. Like it, CRC-32 keeps equal keys in one partition.
        future = send(producer, topic, key, value, crc32(key) % partitions, stop)
        if future is None:
            return
        delivery.sent += 1
        future.add_callback(on_acknowledged).add_errback(on_failed)
    while delivery.in_flight and not stop.wait(0.01):
        pass


def report(delivery: Delivery, config: Config, stop: Stop) -> None:
    """One line every few seconds; in a thread of its own, to go on while produce() waits."""
    before = copy(delivery)
    while not stop.wait(STATUS_INTERVAL_SEC):
        now = copy(delivery)
        if now.is_stalled_since(before):
            logger.warning("waiting for Kafka at %s: %s", config.kafka_bootstrap_servers, now)
        else:
            rate = (now.acknowledged - before.acknowledged) / STATUS_INTERVAL_SEC
            logger.info("%s, %.1f/s", now, rate)
        before = now


def finish(producer: KafkaProducer, delivery: Delivery) -> int:
    """Flushes, closes, logs the totals; returns the exit code."""
    if delivery.in_flight:
        logger.info("waiting up to %d s for %d records", FLUSH_TIMEOUT_SEC, delivery.in_flight)
    try:
        producer.close(timeout=FLUSH_TIMEOUT_SEC)
    except KafkaTimeoutError:
        # Left open, its __del__ would wait once more and print a traceback (kafka-python 3.0.12).
        producer._closed = True
    if delivery.last_error:
        logger.error("last error: %r", delivery.last_error)
    logger.info("stopped: %s, not acknowledged %d", delivery, delivery.in_flight)
    return 0 if delivery.acknowledged == delivery.sent else 1


def run(config: Config, stop: Stop, number: int = 1) -> int:
    """Sends and reports; `number` tells the processes of one producer apart."""
    seed = random.randrange(2**32) if config.seed is None else config.seed
    logger.info("starting: %s", replace(config, seed=seed))
    # A record in flight is a dozen objects, none of them in a cycle: collecting garbage after
    # every 700 of those, as Python does by default, costs a tenth of the speed.
    gc.set_threshold(20_000)
    # All processes sell from one shop, none makes the orders of another, whatever the seeds.
    rng = random.Random(seed if number == 1 else f"{seed}/{number}")
    records = make_records(config, rng, make_pools(seed), time.time)
    producer = new_producer(config)
    delivery = Delivery()
    if wait_for_topic(producer, config, stop):
        timer = Timer(config.duration_sec, stop.request)
        timer.daemon = True  # must not keep the process alive
        if config.duration_sec:
            timer.start()
        Thread(target=report, args=(delivery, config, stop), daemon=True).start()
        produce(producer, records, config, delivery, stop)
    return finish(producer, delivery)


def shares(config: Config) -> list[Config]:
    """What each process has to do; never a COUNT of 0, which would be endless."""
    processes = min(config.processes, config.count or config.processes)
    seed = random.randrange(2**32) if config.seed is None else config.seed
    each = replace(config, processes=1, seed=seed, rate=config.rate / processes)
    count, more = divmod(config.count, processes)
    return [replace(each, count=count + (number < more)) for number in range(processes)]


def run_all(config: Config, stop: Stop) -> int:
    """One process for each share. If one fails, the others stop, too."""
    fork = multiprocessing.get_context("fork")  # a child is ready for signals from its start
    every = shares(config)
    children = [
        fork.Process(target=run_share, args=(share, stop, number, len(every)))
        for number, share in enumerate(every, start=1)
    ]
    for child in children:
        child.start()
    while any(child.is_alive() for child in children) and not stop.wait(0.1):
        if any(child.exitcode for child in children):
            stop.request()
    for child in children:
        child.terminate()  # SIGTERM, of which one that has ended takes no notice
    for child in children:
        child.join()
    return 1 if any(child.exitcode for child in children) else 0


def run_share(config: Config, stop: Stop, number: int, processes: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent passes it on
    set_up_logging(f"{number}/{processes}: ")
    Thread(target=stop_with_parent, args=(stop,), daemon=True).start()
    if config.rate == 0:
        stay_on_one_core(number)
    sys.exit(run(config, stop, number))


def stop_with_parent(stop: Stop) -> None:
    """A parent that was killed stops nobody."""
    if parent := multiprocessing.parent_process():
        parent.join()
        stop.request()


def stay_on_one_core(number: int = 1) -> None:
    """For threads started from now on, too. Python runs one thread at a time, and handing over from
    core to core is slow: on one core this one and kafka-python's send 1.4 times as many records."""
    if hasattr(os, "sched_setaffinity"):  # not on macOS
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[number % len(cores)]})


def set_up_logging(prefix: str = "") -> None:
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        format=f"%(asctime)s %(levelname)s {prefix}%(message)s",
        datefmt="%Y-%m-%dT%H:%M:%SZ",
        level=logging.INFO,
        force=bool(prefix),  # over that of the parent
    )
    # kafka-python logs several lines for every try to reconnect; ours say it once in a while.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)


def main() -> int:
    set_up_logging()
    try:
        config = Config.from_env(os.environ, sys.argv[1:])
    except ConfigError as error:
        logger.error("%s", error)
        return 2
    stop = Stop()
    signal.signal(signal.SIGINT, stop.request)
    signal.signal(signal.SIGTERM, stop.request)
    if config.processes > 1:
        return run_all(config, stop)
    if config.rate == 0:
        stay_on_one_core()
    return run(config, stop)


if __name__ == "__main__":
    sys.exit(main())
