"""Does a service really answer? A probe returns if it does, and raises one of FAILURES if not."""

import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from typing import Any

import clickhouse_driver.errors
from clickhouse_driver import Client
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from ports import HOST, StackSettings

Probe = Callable[[StackSettings], None]

TIMEOUT_SEC = 3.0
TOPICS = ("transactions_raw", "transactions_agg")
CLICKHOUSE_USER, CLICKHOUSE_PASSWORD = "consumer", "MySecret"
TABLE_ANSWERS = "SELECT count() FROM aggregated_analytics"
HEARTBEAT_SEC = 15  # as in the health checks of docker-compose.yml


class NotReady(Exception):
    """The service answers, but not yet as it should; the text says what is missing."""


FAILURES = (
    NotReady,
    OSError,
    EOFError,
    ValueError,
    HTTPException,
    KafkaError,
    clickhouse_driver.errors.Error,
)


def problem(probe: Probe, stack: StackSettings) -> str:
    """Why a service does not answer as it should, in one line; empty if it does."""
    try:
        probe(stack)
    except FAILURES as error:
        return (str(error).splitlines() or [type(error).__name__])[0]
    return ""


def zookeeper(stack: StackSettings) -> None:
    with connection(stack.zookeeper_port) as server:
        server.sendall(b"srvr\n")
        if b"Mode" not in server.recv(4096):
            raise NotReady("does not serve yet")


def kafka(stack: StackSettings) -> None:
    topics_with_leaders(stack)


def topics(stack: StackSettings) -> None:
    missing = sorted(set(TOPICS) - topics_with_leaders(stack))
    if missing:
        raise NotReady(f"no leader for {' and '.join(missing)}")


def clickhouse_server(stack: StackSettings) -> None:
    """Query the table over both protocols."""
    connection(stack.clickhouse_port).close()
    client = Client(
        host=HOST,
        port=stack.clickhouse_port,
        user=CLICKHOUSE_USER,
        password=CLICKHOUSE_PASSWORD,
        connect_timeout=TIMEOUT_SEC,
    )
    client.execute(TABLE_ANSWERS)
    client.disconnect()
    login = f"user={CLICKHOUSE_USER}&password={CLICKHOUSE_PASSWORD}"
    get(stack.clickhouse_http_port, f"/?{login}&query={TABLE_ANSWERS.replace(' ', '+')}")


def spark_master(stack: StackSettings) -> None:
    status = master_state(stack.spark_master_webui_port)["status"]
    if status != "ALIVE" and not (stack.cluster and status == "STANDBY"):
        raise NotReady(f"is {status}")


def spark_worker(stack: StackSettings) -> None:
    get(stack.spark_worker_webui_port, "/json/")
    workers = alive_master(stack)["workers"]
    own = f":{stack.spark_worker_webui_port}"
    if not any(each["webuiaddress"].endswith(own) and each["state"] == "ALIVE" for each in workers):
        raise NotReady("is not registered with the master")


def heartbeat(service: str) -> Probe:
    """The probe of a service without a port, which touches its health file while it can work."""

    def probe(stack: StackSettings) -> None:
        try:
            touched_at = stack.health_file(service).stat().st_mtime
        except FileNotFoundError:  # launch.py deletes it
            raise NotReady("no heartbeat since its start") from None
        age_sec = time.time() - touched_at
        if abs(age_sec) > HEARTBEAT_SEC:  # it is negative after the clock has been set back
            raise NotReady(f"last heartbeat {age_sec:.0f} s ago")

    return probe


def connection(port: int) -> socket.socket:
    return socket.create_connection((HOST, port), TIMEOUT_SEC)


def get(port: int, path: str) -> bytes:
    server = HTTPConnection(HOST, port, timeout=TIMEOUT_SEC)
    try:
        server.request("GET", path)
        answer = server.getresponse()
        content = answer.read()
    finally:
        server.close()
    if answer.status != 200:
        raise NotReady(f"HTTP {answer.status}: {content[:200].decode(errors='replace')}")
    return content


def alive_master(stack: StackSettings) -> dict[str, Any]:
    """What the master at work says of itself, its workers and applications."""
    masters = stack.block(stack.spark_master_webui_port)[: stack.instances("spark-master")]
    for port in masters:
        with suppress(OSError, HTTPException, NotReady):  # one of several may be away
            state = master_state(port)
            if state["status"] == "ALIVE":
                return state
    raise NotReady("no master is ALIVE")


def master_state(port: int) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(get(port, "/json/"))
    return state


def topics_with_leaders(stack: StackSettings) -> set[str]:
    """The topics that have a leader for every partition."""
    connection(stack.kafka_port).close()
    admin = KafkaAdminClient(
        bootstrap_servers=f"{HOST}:{stack.kafka_port}",
        bootstrap_timeout_ms=int(TIMEOUT_SEC * 1000),
    )
    try:
        described = admin.describe_topics()
    finally:
        admin.close()
    return {
        topic["name"]
        for topic in described
        if all(partition["leader_id"] >= 0 for partition in topic["partitions"])
    }
