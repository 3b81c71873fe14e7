"""Cause a real fault for each alert of monitoring/alerts.yml, and measure when it fires.

make alarms: on a stack of its own in Docker, on the ports that users know. First a quarter of an
hour without a fault, in which nothing may fire. Needs the program `faketime`. Writes alarms.json.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType

from compose import BUILD_SEC, PROJECT, SERVICES
from monitored import Monitored
from records import transaction
from waiting import eventually

RESULT = Path(__file__).with_name("alarms.json")
QUIET_MINUTES = float(os.environ.get("QUIET_MINUTES", "15"))
FIRES_SEC = 900
OVER_SEC = 1200
SMALL_DISK = Path(__file__).with_name("small_disk.yml")


@dataclass(frozen=True)
class Fault:
    """What is done, which alerts it must make fire, and how it is undone."""

    what: str
    alerts: tuple[str, ...]
    inflict: Callable[[Monitored], object]
    undo: Callable[[Monitored], object]


def stop(*services: str) -> Callable[[Monitored], object]:
    return lambda monitored: monitored.compose("stop", *services)


def start(*services: str) -> Callable[[Monitored], object]:
    return lambda monitored: monitored.compose("up", "-d", *services)


def job_with(**settings: str) -> Callable[[Monitored], object]:
    """Start the job again with these settings."""

    def start_again(monitored: Monitored) -> None:
        with environment(monitored, settings):
            monitored.compose("up", "-d", "--no-deps", "spark-job")

    return start_again


@contextmanager
def environment(monitored: Monitored, settings: dict[str, str]) -> Iterator[None]:
    before = monitored.compose.environment.copy()
    monitored.compose.environment.update(settings)
    yield
    monitored.compose.environment = before


def signal_java(name: str) -> Callable[[Monitored], object]:
    """Signal the JVM of the job, but not its Python process."""
    find = "for each in /proc/[0-9]*; do grep -qx java $each/comm &&"
    line = f"{find} kill -{name} ${{each#/proc/}}; done; true"
    return lambda monitored: monitored.compose("exec", "-T", "spark-job", "sh", "-c", line)


def cores(number: str) -> Callable[[Monitored], object]:
    """Limit what the executor may use."""

    def update(monitored: Monitored) -> None:
        (container,) = monitored.compose.containers("spark-worker")
        monitored.compose.run(["docker", "update", "--cpus", number, container["Id"]], 60)

    return update


class HostProducer:
    """A second producer, on this machine."""

    process: "subprocess.Popen[bytes] | None" = None

    def start(self, *command: str, **settings: str) -> None:
        self.process = subprocess.Popen(
            [*command, sys.executable, PROJECT / "producer" / "producer.py"],
            env={**os.environ, **settings},
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)  # faketime passes no signal on
            self.process.wait(60)


host_producer = HostProducer()


def send(topic: str, value: bytes, at: datetime | None = None) -> None:
    with KafkaProducer(bootstrap_servers="localhost:9092") as producer:
        timestamp_ms = int(at.timestamp() * 1000) if at else None
        producer.send(topic, value, timestamp_ms=timestamp_ms).get(timeout=30)


def send_old_record() -> None:
    """Valid, for its timestamp is as old as it is, but Spark's watermark is later."""
    stamp_on_arrival(False)
    old = datetime.now(UTC) - timedelta(minutes=45)
    send("transactions_raw", transaction(transaction_time=old.isoformat()), old)


def stamp_on_arrival(is_wanted: bool) -> None:
    name = "LogAppendTime" if is_wanted else "CreateTime"
    with KafkaAdminClient(bootstrap_servers="localhost:9092") as admin:
        topic = ConfigResource(
            ConfigResourceType.TOPIC, "transactions_raw", {"message.timestamp.type": name}
        )
        admin.alter_configs([topic])


def fill_disk(monitored: Monitored) -> None:
    line = "head -c 58M /dev/zero > /checkpoints/full; true"
    monitored.compose("exec", "-T", "spark-job", "sh", "-c", line)


def empty_disk(monitored: Monitored) -> None:
    monitored.compose("exec", "-T", "spark-job", "rm", "/checkpoints/full")


def nothing(_monitored: Monitored) -> None: ...


FAULTS = (
    Fault(
        "the consumer is stopped",
        ("ServiceDown", "TableDoesNotGrow"),
        stop("clickhouse-consumer"),
        start("clickhouse-consumer"),
    ),
    Fault(
        "the broker is frozen",
        ("KafkaDoesNotAcknowledge",),
        lambda monitored: monitored.compose("pause", "kafka"),
        lambda monitored: monitored.compose("unpause", "kafka"),
    ),
    Fault(
        "the job's JVM is frozen", ("JobMakesNoProgress",), signal_java("STOP"), signal_java("CONT")
    ),
    Fault(
        "there is no Spark worker",
        ("ServiceRestarts", "JobMakesNoProgress"),
        stop("spark-worker"),
        start("spark-worker"),
    ),
    Fault(
        "ClickHouse is stopped",
        ("ClickHouseDoesNotAcceptRows", "LagGrows", "ServiceDown"),
        stop("clickhouse-server"),
        start("clickhouse-server"),
    ),
    Fault(
        "the job reads fewer records than are sent (`MAX_OFFSETS_PER_TRIGGER=30`)",
        ("LagGrows",),
        job_with(MAX_OFFSETS_PER_TRIGGER="30"),
        job_with(),
    ),
    Fault("the executor has a quarter of a core", ("BatchesTooLong",), cores("0.25"), cores("2")),
    Fault(
        "a producer sends half of its records broken",
        ("VerdictShareRises",),
        lambda _: host_producer.start(RATE="100", INVALID_SHARE="0.5"),
        lambda _: host_producer.stop(),
    ),
    Fault(
        "a producer's clock is 20 minutes behind",
        ("ClocksApart", "VerdictShareRises"),
        lambda _: host_producer.start("faketime", "-f", "-20m", RATE="200"),
        lambda _: host_producer.stop(),
    ),
    Fault(
        "a record is read 25 minutes after others of its time",
        ("StateDropsRecords",),
        lambda _: send_old_record(),
        lambda _: stamp_on_arrival(True),
    ),
    Fault(
        "another program writes to `transactions_agg`",
        ("MessagesSkipped",),
        lambda _: send("transactions_agg", b"not JSON"),
        nothing,
    ),
    Fault("the checkpoint's disk is 95 % full", ("DiskFillingUp",), fill_disk, empty_disk),
)


def firing(monitored: Monitored) -> set[str]:
    return {each["metric"]["alertname"] for each in monitored.ask('ALERTS{alertstate="firing"}')}


def fired_within(monitored: Monitored, minutes: float) -> set[str]:
    query = f'max_over_time(ALERTS{{alertstate="firing"}}[{int(minutes * 60)}s])'
    return {each["metric"]["alertname"] for each in monitored.ask(query)}


def seconds_to_fire(monitored: Monitored, fault: Fault) -> dict[str, int]:
    """Inflict a fault, wait until each of its alerts fires, and undo it."""
    is_calm = f"none of {fault.alerts} fires before: {fault.what}"
    eventually(lambda: not firing(monitored) & set(fault.alerts), is_calm, OVER_SEC, 2)
    begun = time.monotonic()
    fault.inflict(monitored)
    fired: dict[str, int] = {}
    try:
        while missing := set(fault.alerts) - fired.keys():
            elapsed_sec = int(time.monotonic() - begun)
            assert elapsed_sec < FIRES_SEC, f"{fault.what}: {missing} did not fire"
            for alert in firing(monitored) & missing:
                fired[alert] = elapsed_sec
                print(f"{elapsed_sec:4} s  {fault.what}: {alert}", flush=True)
            time.sleep(1)
    finally:
        fault.undo(monitored)
    return fired


def quiet(monitored: Monitored) -> set[str]:
    """What fires while nothing is wrong."""
    eventually(lambda: monitored.ask("purchases_job_state_rows"), "the job reads", 120)
    time.sleep(QUIET_MINUTES * 60)
    return fired_within(monitored, QUIET_MINUTES)


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and remove what was started
    monitored = Monitored(str(SMALL_DISK))
    monitored.compose.environment["COMPOSE_PROJECT_NAME"] = "purchase-analytics-alarms"
    results = []
    monitored.compose.remove()
    try:
        monitored.compose("up", "--build", "-d", *SERVICES, timeout_sec=BUILD_SEC)
        monitored.compose.wait_until_healthy()
        monitored.start()
        disturbers = quiet(monitored)
        found = disturbers or "nothing fires"
        print(f"{QUIET_MINUTES:g} minutes without a fault: {found}", flush=True)
        assert not disturbers
        for fault in FAULTS:
            fired = seconds_to_fire(monitored, fault)
            results += [[fault.what, alert, fired[alert]] for alert in fault.alerts]
        eventually(lambda: not firing(monitored), "nothing fires after all faults", OVER_SEC, 2)
    finally:
        host_producer.stop()
        monitored.compose.remove()
    when = datetime.now(UTC).isoformat(timespec="minutes")
    result = {"when": when, "quiet_minutes": QUIET_MINUTES, "fired": results}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
