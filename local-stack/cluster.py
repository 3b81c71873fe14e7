"""A cluster: what `make local-up CLUSTER=1` changes in the stack.

Most services have several instances, as many as `ports.CLUSTER` says, and any one of them may die.
The first instance keeps the name, ports and folder that it has without a cluster; each further one
has a number in its name, higher ports, and a folder of its own. Each ClickHouse server gets the
whole table from a consumer group of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import probes
from ports import CLUSTER, CLUSTER_PORTS, StackSettings

if TYPE_CHECKING:
    from services import Service

KAFKA_SETTINGS = {
    "default.replication.factor": 3,
    "offsets.topic.replication.factor": 3,
    "transaction.state.log.replication.factor": 3,
    # A record is acknowledged once two brokers have it, so either may be lost.
    "min.insync.replicas": 2,
    "transaction.state.log.min.isr": 2,
    # The last broker to stop has nobody to hand its partitions to.
    "controlled.shutdown.retry.backoff.ms": 500,
}
# A session ends at most 10 s after its client died. Spark's masters ask for 60 s.
ZOOKEEPER_PROPERTIES = "initLimit=10\nsyncLimit=5\nmaxSessionTimeout=10000\n"
# A worker whose master has gone asks that one only, until the new master calls. That one does not
# call if a master that hung has deleted the worker from ZooKeeper. By default, such a worker ends
# after 11 minutes, starts again and asks all masters; with these settings, after 1 to 2 minutes.
WORKER_GIVES_UP = (
    " -Dspark.worker.initialRegistrationRetries=9"  # 5 to 15 s apart
    " -Dspark.worker.maxRegistrationRetries=8"  # the others would be 30 to 90 s apart
)
CONSUMERS_PER_TABLE = CLUSTER["clickhouse-consumer"] // CLUSTER["clickhouse-server"]


def instances(services: Iterable[Service], stack: StackSettings) -> Iterator[Service]:
    """All instances of these services, in the same order."""
    for service in services:
        for number in range(1, stack.instances(service.name) + 1):
            yield instance(service, number, stack)


def instance(service: Service, number: int, stack: StackSettings) -> Service:
    """The instance of this number, which is at least 1."""
    name = service.name if number == 1 else f"{service.name}-{number}"
    ports, command, environment = service.ports, service.command, dict(service.environment)
    probe = service.probe
    match service.name:
        case "zookeeper":
            ports = (*ports, *CLUSTER_PORTS)
        case "kafka":
            settings = {"broker.id": number, **KAFKA_SETTINGS}
            words = [("--override", f"{key}={value}") for key, value in settings.items()]
            command = (*command, *(word for pair in words for word in pair))
        case "spark-worker":
            environment["SPARK_WORKER_OPTS"] += WORKER_GIVES_UP
        case "clickhouse-consumer":
            probe = probes.heartbeat(name)
            environment["HEALTH_FILE"] = f"{{directory}}/health/{name}"
            table = (number - 1) // CONSUMERS_PER_TABLE  # from 0
            environment["CLICKHOUSE_PORT"] = str(stack.block(stack.clickhouse_port)[table])
            if table:
                environment["CONSUMER_GROUP"] = f"clickhouse-consumer-{table + 1}"
    of_one = changes(stack, own_ports=service.ports)
    return replace(
        service,
        name=name,
        number=number,
        ports=ports,
        command=tuple(changed(word, of_one) for word in command),
        environment={key: changed(text, of_one) for key, text in environment.items()},
        probe=probe,
    )


def changes(stack: StackSettings, own_ports: Iterable[str]) -> dict[str, str]:
    """What a text says without a cluster -> what it has to say: all servers in place of one."""
    zookeepers = stack.servers("zookeeper", stack.zookeeper_port)
    texts = {
        "zookeeper_port": ("127.0.0.1:{zookeeper_port}", zookeepers),
        "kafka_port": ("127.0.0.1:{kafka_port}", stack.servers("kafka", stack.kafka_port)),
        "spark_master_port": (
            "spark://localhost:{spark_master_port}",
            f"spark://{stack.servers('spark-master', stack.spark_master_port, 'localhost')}",
        ),
    }
    in_a_folder = "FILESYSTEM -Dspark.deploy.recoveryDirectory=spark-master"
    return {
        in_a_folder: f"ZOOKEEPER -Dspark.deploy.zookeeper.url={zookeepers}",
        # Its own port stands for this instance alone.
        **dict(pair for port, pair in texts.items() if port not in own_ports),
    }


def changed(text: str, of_one: dict[str, str]) -> str:
    for old, new in of_one.items():
        text = text.replace(old, new)
    return text


def zookeeper_properties(stack: StackSettings) -> str:
    """What each ZooKeeper has to know of the others."""
    peers = stack.servers("zookeeper", stack.zookeeper_peer_port).split(",")
    elections = stack.block(stack.zookeeper_election_port)
    servers = (
        f"server.{number}={peer}:{election}\n"
        for number, (peer, election) in enumerate(zip(peers, elections, strict=False), start=1)
    )
    return ZOOKEEPER_PROPERTIES + "".join(servers)
