"""Does a part of the stack really answer? A probe returns, or raises one of FAILURES."""

import json
import socket
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any

import clickhouse_driver.errors
from clickhouse_driver import Client
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

if TYPE_CHECKING:
    from stack import Stack

TIMEOUT_SEC = 3.0
TOPICS = ("transactions_raw", "transactions_agg")
CLICKHOUSE_USER, CLICKHOUSE_PASSWORD = "consumer", "MySecret"
TABLE_ANSWERS = "SELECT count() FROM aggregated_analytics"
HEARTBEAT_SEC = 15  # as in the health checks of docker-compose.yml


class NotReady(Exception):
    """It answers, but not yet as it should; the text says what is missing."""


FAILURES = (
    NotReady,
    OSError,
    EOFError,
    ValueError,
    HTTPException,
    KafkaError,
    clickhouse_driver.errors.Error,
)


def complaint(stack: "Stack", service: str, started_at: float) -> str:
    """Why the service does not answer as it should, in one line; nothing if it does."""
    try:
        if service in HEARTBEATS:
            heartbeat(stack, service, started_at)
        else:
            PROBES[service](stack)
    except FAILURES as error:
        return (str(error).splitlines() or [type(error).__name__])[0]
    return ""


def zookeeper(stack: "Stack") -> None:
    with connection(stack.zookeeper_port) as server:
        server.sendall(b"srvr\n")
        if b"Mode" not in server.recv(4096):
            raise NotReady("does not serve yet")


def kafka(stack: "Stack") -> None:
    topics_with_leaders(stack)


def topics(stack: "Stack") -> None:
    missing = sorted(set(TOPICS) - topics_with_leaders(stack))
    if missing:
        raise NotReady(f"no leader for {' and '.join(missing)}")


def clickhouse_server(stack: "Stack") -> None:
    connection(stack.clickhouse_port).close()
    client = Client(
        host="localhost",
        port=stack.clickhouse_port,
        user=CLICKHOUSE_USER,
        password=CLICKHOUSE_PASSWORD,
        connect_timeout=TIMEOUT_SEC,
    )
    client.execute(TABLE_ANSWERS)
    client.disconnect()
    login = f"user={CLICKHOUSE_USER}&password={CLICKHOUSE_PASSWORD}"
    get(stack.clickhouse_http_port, f"/?{login}&query={TABLE_ANSWERS.replace(' ', '+')}")


def spark_master(stack: "Stack") -> None:
    master_state(stack)


def spark_worker(stack: "Stack") -> None:
    get(stack.spark_worker_webui_port, "/json/")
    if not master_state(stack)["aliveworkers"]:
        raise NotReady("is not registered with the master")


def heartbeat(stack: "Stack", service: str, started_at: float) -> None:
    file = stack.health_file(service)
    touched_at = file.stat().st_mtime if file.exists() else 0
    if touched_at < started_at + 1:  # supervisord tells whole seconds
        raise NotReady("no sign of life since its start")
    if time.time() - touched_at > HEARTBEAT_SEC:
        raise NotReady(f"last sign of life {time.time() - touched_at:.0f} s ago")


def connection(port: int) -> socket.socket:
    return socket.create_connection(("localhost", port), TIMEOUT_SEC)


def get(port: int, path: str) -> bytes:
    server = HTTPConnection("localhost", port, timeout=TIMEOUT_SEC)
    try:
        server.request("GET", path)
        answer = server.getresponse()
        content = answer.read()
    finally:
        server.close()
    if answer.status != 200:
        raise NotReady(f"HTTP {answer.status}: {content[:200].decode(errors='replace')}")
    return content


def master_state(stack: "Stack") -> dict[str, Any]:
    state: dict[str, Any] = json.loads(get(stack.spark_master_webui_port, "/json/"))
    if state["status"] != "ALIVE":
        raise NotReady(f"is {state['status']}")
    return state


def topics_with_leaders(stack: "Stack") -> set[str]:
    """The topics that have a leader for every partition."""
    connection(stack.kafka_port).close()
    admin = KafkaAdminClient(
        bootstrap_servers=f"localhost:{stack.kafka_port}",
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


PROBES: dict[str, Callable[["Stack"], None]] = {
    "zookeeper": zookeeper,
    "kafka": kafka,
    "topics": topics,
    "clickhouse-server": clickhouse_server,
    "spark-master": spark_master,
    "spark-worker": spark_worker,
}
HEARTBEATS = ("spark-job", "clickhouse-consumer")
