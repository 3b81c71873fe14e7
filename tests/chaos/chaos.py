"""Break every part of a running pipeline, over and over, and prove that the numbers stay exact.

A stack of its own gets good, bad, late and repeated records all the while, and faults in an order
that SEED decides. The next fault comes only when an order that arrived after the last one is
counted. A reader polls the table like any user. At the end every window is recomputed from
transactions_raw. Settings: SEED (1), FAULTS (24) or MINUTES, RATE (200 transactions per second).

Writes .local/chaos/seed-SEED.json. Exits 0 if all is equal, 1 if not, 2 if too little happened to
prove anything or a setting is wrong, 3 if a part did not recover.
"""

import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import psutil
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

import oracle
from faults import COMPONENTS, SERVICE, Fault, NotRecovered, processes, schedule, wait_for
from freshness import Freshness
from reader import Reader, answer_times
from stack import PROJECT, VENV, ConfigError, Stack, StackError
from traffic import Noise, Producer

RESULTS = PROJECT / ".local" / "chaos"
DIRECTORY = RESULTS / "stack"
PYTHON = VENV / "bin" / "python"
WATERMARK = timedelta(minutes=10)
NOISE_PER_SEC = 20
POLL_SEC = 0.2
RECOVERY_DEADLINE_SEC = 180
SETTLE_DEADLINE_SEC = 300
SAME_ANSWERS = 3
GIVE_UP_ANSWERS = 30  # wrong ones
MIN_ORDERS_PER_FAULT = 100


class Looper:
    """Calls `work` again and again in a thread of its own, until the block ends.

    The block raises NotRecovered at its end if `work` has raised anything.
    """

    def __init__(self, work: Callable[[], None], interval_sec: float) -> None:
        self.work, self.interval_sec = work, interval_sec
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.loop, daemon=True)
        self.error: Exception | None = None

    def loop(self) -> None:
        try:
            while not self.ended.wait(self.interval_sec):
                self.work()
        except Exception as error:
            self.error = error

    def __enter__(self) -> "Looper":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()
        if self.error:
            raise NotRecovered(f"the harness itself: {self.error!r}") from self.error


class Chaos:
    """One run on one stack."""

    def __init__(self, stack: Stack, seed: int, rate: float, deduplicate: bool) -> None:
        self.stack, self.seed = stack, seed
        self.faults = schedule(random.Random(seed))
        self.bootstrap_servers = f"localhost:{stack.kafka_port}"
        self.expected = oracle.Expected(WATERMARK, deduplicate)
        self.freshness = Freshness(self.expected)
        self.raw = oracle.RawTopic(self.bootstrap_servers, "transactions_raw")
        self.reader = Reader(stack, self.freshness)
        self.producer = Producer(stack, seed, rate)
        self.noise = Noise(stack, seed)
        self.done: list[dict[str, Any]] = []
        self.start = time.monotonic()

    def run(self, is_enough: Callable[[int], bool]) -> None:
        """Faults until `is_enough(their number)`. Raises NotRecovered."""
        with (
            self.noise,
            self.producer,
            Looper(self.read_raw, POLL_SEC),
            Looper(self.reader.poll, POLL_SEC),
            Looper(self.noise.send, 1 / NOISE_PER_SEC),
            Looper(self.producer.keep_running, POLL_SEC),
        ):
            self.wait_until_counted(datetime.now(UTC), "nothing is counted")
            while not is_enough(len(self.done)):
                self.break_and_wait(next(self.faults))

    def read_raw(self) -> None:
        with suppress(KafkaError):  # the broker is away
            for value, arrival in self.raw.read_new():
                self.freshness.arrived(value, arrival)

    def break_and_wait(self, fault: Fault) -> None:
        self.reader.is_down_for_a_reason = "clickhouse" in fault.components
        begun = time.monotonic()
        healed_at = self.inflict(fault)
        lasted_sec = time.monotonic() - begun
        recovery_sec = self.wait_until_counted(healed_at, str(fault))
        self.reader.is_down_for_a_reason = False
        self.done.append(
            {
                "kind": fault.kind,
                "components": fault.components,
                "lasted_sec": round(lasted_sec, 1) if fault.seconds else 0,
                "recovery_sec": round(recovery_sec, 1),
            }
        )
        elapsed_sec = time.monotonic() - self.start
        say(f"{elapsed_sec:5.0f} s  {len(self.done):3}  {fault}: recovered in {recovery_sec:.1f} s")

    def inflict(self, fault: Fault) -> datetime:
        """Returns the moment from which on the pipeline has to recover by itself."""
        if fault.kind == "outage":
            (service,) = (SERVICE[name] for name in fault.components)
            self.stack.stop(service)
            time.sleep(fault.seconds)
            self.stack.start(service)
        elif fault.kind == "join":
            self.join_and_kill(fault.seconds)
        else:
            targets = [p for name in fault.components for p in self.processes(name)]
            for process in targets:
                with suppress(psutil.NoSuchProcess):  # it has just ended by itself
                    process.kill() if fault.kind == "kill" else process.suspend()
            try:
                time.sleep(fault.seconds)
            finally:
                for process in targets:
                    resume(process)
        return datetime.now(UTC)

    def processes(self, component: str) -> list[psutil.Process]:
        if component == "producer":
            return wait_for(lambda: [p for p in [self.producer.process] if p], component)
        return wait_for(lambda: processes(self.stack, component), component)

    def join_and_kill(self, seconds: int) -> None:
        """A second consumer, that gets a share of the partitions and dies with it."""
        second = subprocess.Popen(
            [PYTHON, PROJECT / "clickhouse-consumer" / "consumer.py"],
            env={**os.environ, **self.stack.environment()},
            stderr=subprocess.DEVNULL,
        )
        time.sleep(seconds)
        second.kill()
        second.wait()

    def wait_until_counted(self, moment: datetime, what: str) -> float:
        """Seconds until the table counts an order that Kafka got after `moment`."""
        start = time.monotonic()
        while self.reader.counted_until <= moment:
            if time.monotonic() - start > RECOVERY_DEADLINE_SEC:
                raise NotRecovered(f"{what}: no new order counted in {RECOVERY_DEADLINE_SEC} s")
            time.sleep(POLL_SEC / 2)
        return time.monotonic() - start

    def settle(self) -> list[oracle.Difference]:
        """Wait for lag zero and the same answer again and again; how that answer is wrong."""
        self.stack.wait_until_healthy(SETTLE_DEADLINE_SEC, say=lambda _: None)
        deadline = time.monotonic() + SETTLE_DEADLINE_SEC
        differences: list[oracle.Difference] = []
        same, last = 0, None
        while time.monotonic() < deadline:
            self.read_raw()
            rows = oracle.fetch_rows(self.reader.connect(), "aggregated_analytics")
            self.reader.check(rows)
            want = {start: window.row(start) for start, window in self.expected.windows.items()}
            differences = oracle.compare(want, rows)
            answer = (self.lag(), sorted(rows))
            same = same + 1 if answer == last else 0
            last = answer
            if answer[0] == 0 and same >= (GIVE_UP_ANSWERS if differences else SAME_ANSWERS):
                break
            time.sleep(1)
        return differences

    def lag(self) -> int:
        """Records of transactions_agg that the consumer has not committed."""
        with KafkaConsumer(
            bootstrap_servers=self.bootstrap_servers,
            group_id="clickhouse-consumer",
            enable_auto_commit=False,
        ) as consumer:
            partitions = [TopicPartition("transactions_agg", number) for number in range(3)]
            ends = consumer.end_offsets(partitions)
            return sum(ends[p] - (consumer.committed(p) or 0) for p in partitions)

    def result(self, differences: list[oracle.Difference]) -> dict[str, Any]:
        """What happened, and the verdict: equal, NOT equal, or invalid."""
        verdicts = self.expected.verdicts
        counted = sum(self.reader.orders.values())
        wrong = sorted(set(self.reader.contradictions))
        wrong += [f"{kind} {start:%Y-%m-%dT%H:%MZ} {text}" for kind, start, text in differences]
        if counted != verdicts["valid"]:
            wrong.append(f"{verdicts['valid']} valid records, {counted} counted")
        if self.raw.size() != verdicts.total():
            wrong.append(f"{self.raw.size()} raw records, {verdicts.total()} accounted for")
        verdict = "NOT equal" if wrong else "equal"
        if verdicts["valid"] < MIN_ORDERS_PER_FAULT * max(len(self.done), 1):
            verdict = "invalid"
        return {
            "when": datetime.now(UTC).isoformat(timespec="minutes"),
            "seed": self.seed,
            "verdict": verdict,
            "wrong": wrong,
            "deduplicate": self.expected.deduplicate,
            "minutes": round((time.monotonic() - self.start) / 60, 1),
            "raw_records": verdicts.total(),
            "windows": len(self.expected.windows),
            "records": dict(sorted(verdicts.items())),
            "reader": answer_times(self.reader.answers_sec),
            "hits": dict(Counter(name for fault in self.done for name in fault["components"])),
            "recovery_sec": recovery(self.done),
            "faults": self.done,
        }


def resume(process: psutil.Process) -> None:
    """If it still is there: it was killed, or given up by the others, as an executor is."""
    with suppress(psutil.NoSuchProcess):
        process.resume()


def recovery(done: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Median and worst by kind and component, in seconds after the fault was over."""
    times: dict[str, list[float]] = {}
    for fault in done:
        times.setdefault(f"{fault['kind']} {' and '.join(fault['components'])}", []).append(
            fault["recovery_sec"]
        )
    return {
        name: {"faults": len(all_sec), "median": round(median(all_sec), 1), "worst": max(all_sec)}
        for name, all_sec in sorted(times.items())
    }


def say(line: str) -> None:
    print(line, flush=True)


def show(result: Mapping[str, Any]) -> None:
    say("\nrecovery in seconds: faults, median, worst")
    for name, each in result["recovery_sec"].items():
        say(f"  {name:<32} {each['faults']:3} {each['median']:6} {each['worst']:6}")
    for line in result["wrong"][:50]:
        say(f"  {line}")
    counts = ", ".join(f"{name} {count}" for name, count in result["records"].items())
    say(f"{result['raw_records']} raw records = {counts}; {result['windows']} windows")
    say(f"reader: {result['reader']}")
    say(f"seed {result['seed']}, {len(result['faults'])} faults: {result['verdict']}")


def number(env: Mapping[str, str], variable: str, default: str) -> int:
    text = env.get(variable) or default
    if not text.isdecimal():
        raise ConfigError(f"{variable} must be a whole number, not {text!r}")
    return int(text)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def run(stack: Stack, seed: int, faults: int, minutes: int, rate: int, deduplicate: bool) -> int:
    stack.up({"DEDUPLICATE_ORDERS": str(deduplicate).lower()}, deadline_sec=240)
    chaos = Chaos(stack, seed, rate, deduplicate)
    end = time.monotonic() + 60 * minutes
    say(f"\nseed {seed}: {minutes} minutes" if minutes else f"\nseed {seed}: {faults} faults")
    try:
        chaos.run(lambda done: time.monotonic() > end if minutes else done >= faults)
        differences = chaos.settle()
    except (NotRecovered, StackError) as error:
        say(f"NOT recovered: {error}")
        for part in stack.status():
            say(f"--- {part.name} {part.state} {part.complaint}\n{stack.log_tail(part.name)}")
        return 3
    result = chaos.result(differences)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"seed-{seed}.json").write_text(json.dumps(result, indent=1) + "\n")
    show(result)
    return {"equal": 0, "NOT equal": 1, "invalid": 2}[result["verdict"]]


def main(env: Mapping[str, str]) -> int:
    logging.basicConfig(level=logging.CRITICAL)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        seed, rate = number(env, "SEED", "1"), number(env, "RATE", "200")
        minutes = number(env, "MINUTES", "0")
        faults = number(env, "FAULTS", str(2 * len(COMPONENTS) + 4))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    if old := Stack.left_in(DIRECTORY):  # by a run that was killed
        old.down(say=lambda _: None)
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    stack = Stack.on_free_ports(DIRECTORY)
    deduplicate = env.get("DEDUPLICATE_ORDERS") == "true"
    try:
        return run(stack, seed, faults, minutes, rate, deduplicate)
    except StackError as error:
        print(error, file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    finally:
        if stack.is_up():
            stack.down()


if __name__ == "__main__":
    sys.exit(main(os.environ))
