"""docker-compose.cluster.yml: one container of each kind is killed while transactions arrive.

Before it is started again, the tables must go on growing without it.
"""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request

import pytest

from compose import BUILD_SEC, PROJECT, Compose, has_compose_2_24, service_of
from local_http import urlopen
from polling import eventually_equal, eventually_matches

pytestmark = pytest.mark.services

ZOOKEEPERS = ("zookeeper", "zookeeper-2", "zookeeper-3")
BROKERS = ("kafka", "kafka-2", "kafka-3")  # broker ids 1 to 3
BOOTSTRAP_SERVERS = "localhost:9092,localhost:9192,localhost:9292"
MASTERS = {"spark-master": 8080, "spark-master-2": 8180}
SERVERS = {"clickhouse-server": 8123, "clickhouse-server-2": 8133}
CONSUMERS = ("clickhouse-consumer", "clickhouse-consumer-2")
SERVICES = (*ZOOKEEPERS, *BROKERS, *SERVERS, *MASTERS, "spark-worker", "spark-job", *CONSUMERS)
START_SEC = 600
MORE_ORDERS = 1000  # 10 s of the producer; those on their way at the moment of a kill are fewer

Container = dict[str, Any]


@contextmanager
def logs_on_failure(cluster: Compose, when: str) -> Iterator[None]:
    """Show the end of each log beside what failed."""
    try:
        yield
    except (AssertionError, OSError) as error:
        logs = cluster("logs", "--no-color", "--tail=10")
        raise AssertionError(f"{when}: {error}\n{logs}") from None


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[Compose]:
    """The cluster, started and healthy; removed at the end with its data."""
    if not has_compose_2_24():
        pytest.skip("docker-compose.cluster.yml needs `docker compose` 2.24 or newer")
    Compose().remove()  # it would have the same ports
    cluster = Compose("docker-compose.cluster.yml", command="docker compose", services=SERVICES)
    cluster.environment["COMPOSE_PROJECT_NAME"] = "purchase-analytics-cluster-test"
    cluster.remove()
    try:
        cluster("build", timeout_sec=BUILD_SEC)
        started = time.monotonic()
        with logs_on_failure(cluster, "at the start"):
            cluster("up", "--build", "-d", timeout_sec=START_SEC)
            cluster.wait_until_healthy()
        capture = request.config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            print(f"the cluster is healthy after {time.monotonic() - started:.0f} s")
        yield cluster
    finally:
        cluster.remove()


class Traffic:
    """A producer that sends until it is stopped."""

    def __init__(self, cluster: Compose, log: Path) -> None:
        self._log = log
        with log.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "producer/producer.py"],
                cwd=PROJECT,
                env={**cluster.environment, "KAFKA_BOOTSTRAP_SERVERS": BOOTSTRAP_SERVERS},
                stderr=output,
            )

    def stop(self) -> str:
        """Its log, once it has sent everything."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=180)
        finally:
            self._process.kill()
        return self._log.read_text()


@pytest.fixture(scope="module")
def traffic(cluster: Compose, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traffic]:
    traffic = Traffic(cluster, tmp_path_factory.mktemp("traffic") / "producer.log")
    yield traffic
    traffic.stop()


def ask_master(service: str) -> dict[str, Any]:
    """What a master says about itself; nothing while it does not answer."""
    try:
        with urlopen(f"http://localhost:{MASTERS[service]}/json/", timeout=10) as answer:
            return dict(json.load(answer))
    except (OSError, ValueError):
        return {}


def workers() -> list[dict[str, Any]]:
    """The workers that are registered with the ALIVE master."""
    masters = [ask_master(service) for service in MASTERS]
    alive = [master for master in masters if master.get("status") == "ALIVE"]
    return [each for master in alive for each in master["workers"] if each["state"] == "ALIVE"]


def stored_orders(server: str) -> int:
    query = "SELECT+sum(total_orders)+FROM+aggregated_analytics"
    login = {"X-ClickHouse-User": "consumer", "X-ClickHouse-Key": "MySecret"}
    address = f"http://localhost:{SERVERS[server]}/?query={query}"
    with urlopen(Request(address, headers=login), timeout=10) as answer:
        return int(answer.read())


def wait_for_more_orders(server: str) -> None:
    """Return when the table has grown. It must answer each time, and never shrink."""
    seen = [stored_orders(server)]

    def growth() -> int:
        seen.append(stored_orders(server))
        assert seen[-1] >= seen[-2], f"{server} has lost orders: {seen[-2:]}"
        return seen[-1] - seen[0]

    eventually_matches(growth, lambda more: more >= MORE_ORDERS, f"more orders in {server}")


def kafka_tool(cluster: Compose, command: str) -> str:
    """The output of one of Kafka's tools, from the broker that was never killed."""
    return cluster.shell(f"docker compose exec kafka-3 {command} --bootstrap-server kafka-3:29092")


def leading_broker(cluster: Compose) -> Container:
    """`kafka`, the only one that the producer's default names. It leads one of three partitions."""
    assert "Leader: 1" in kafka_tool(cluster, "kafka-topics --describe --topic transactions_raw")
    return container_of(cluster, "kafka")


def leading_zookeeper(cluster: Compose) -> Container:
    srvr = ("bash", "-c", "echo srvr | nc -w 2 localhost 2181")
    (leader,) = [
        name for name in ZOOKEEPERS if "Mode: leader" in cluster("exec", "-T", name, *srvr)
    ]
    return container_of(cluster, leader)


def alive_master(cluster: Compose) -> Container:
    (alive,) = [name for name in MASTERS if ask_master(name)["status"] == "ALIVE"]
    return container_of(cluster, alive)


def worker_with_executor(cluster: Compose) -> Container:
    host = next(worker["host"] for worker in workers() if worker["coresused"])
    (container,) = [
        container
        for container in cluster.containers("spark-worker")
        for network in container["NetworkSettings"]["Networks"].values()
        if network["IPAddress"] == host
    ]
    return container


def one_consumer_of_two(cluster: Compose) -> Container:
    return container_of(cluster, "clickhouse-consumer")


def one_clickhouse_server(cluster: Compose) -> Container:
    return container_of(cluster, "clickhouse-server")


def container_of(cluster: Compose, service: str) -> Container:
    return cluster.containers(service)[0]


def test_a_producer_with_the_defaults_fills_both_tables(cluster: Compose) -> None:
    cluster.produce(DURATION_SEC=10)
    with logs_on_failure(cluster, "before any kill"):
        for consumer in CONSUMERS:
            assert "all equal" in cluster.make("verify", f"CONSUMER={consumer}"), consumer


def test_what_a_broker_acknowledges_is_on_two_at_least(cluster: Compose) -> None:
    output = kafka_tool(cluster, "kafka-topics --describe")
    line = r"^Topic: (\S+)\s.*ReplicationFactor: (\d)\s+Configs: (.*)$"
    topics = {name: found for name, *found in re.findall(line, output, re.MULTILINE)}
    assert topics.keys() >= {"transactions_raw", "transactions_agg", "__consumer_offsets"}
    for name, (replicas, configs) in topics.items():
        assert replicas == "3", name
        assert "min.insync.replicas=2" in configs, name
        assert "unclean.leader.election.enable=false" in configs, name
    assert "message.timestamp.type=LogAppendTime" in topics["transactions_raw"][1]


@pytest.mark.parametrize(
    "find",
    [
        leading_broker,
        leading_zookeeper,
        alive_master,
        worker_with_executor,
        one_consumer_of_two,
        one_clickhouse_server,
    ],
)
def test_the_pipeline_goes_on_without(
    find: Callable[[Compose], Container], cluster: Compose, traffic: Traffic
) -> None:
    cluster.wait_until_healthy()
    victim = find(cluster)
    service = service_of(victim)
    cluster.run(["docker", "kill", "-s", "KILL", victim["Id"]], 60)
    try:
        with logs_on_failure(cluster, f"without {victim['Name']}"):
            for server in SERVERS:
                if server != service:
                    wait_for_more_orders(server)
            expected = 1 if service == "spark-worker" else 2
            eventually_equal(lambda: len(workers()), expected, "workers of the ALIVE master")
    finally:
        cluster.run(["docker", "start", victim["Id"]], 60)


def test_docker_restarts_a_job_that_dies(cluster: Compose, traffic: Traffic) -> None:
    cluster.wait_until_healthy()
    job = container_of(cluster, "spark-job")
    # All but the first process, which then ends, too.
    cluster.run(["docker", "exec", job["Id"], "sh", "-c", "kill -KILL -1"], 60)
    with logs_on_failure(cluster, "after the death of the job"):
        eventually_matches(
            lambda: container_of(cluster, "spark-job")["RestartCount"],
            lambda count: count > job["RestartCount"],
            "Docker has restarted the job",
        )
        for server in SERVERS:
            wait_for_more_orders(server)


def test_nothing_is_lost_and_nothing_counts_twice(cluster: Compose, traffic: Traffic) -> None:
    def lags() -> dict[str, int]:
        output = kafka_tool(cluster, "kafka-consumer-groups --describe --all-groups")
        rows = re.findall(r"^(\S+) +transactions_\w+ +\d+ +\d+ +\d+ +(\d+) ", output, re.MULTILINE)
        return {group: sum(int(lag) for name, lag in rows if name == group) for group, _ in rows}

    cluster.wait_until_healthy()
    totals = traffic.stop().splitlines()[-1]
    assert re.search(r"acknowledged [1-9]\d+, failed 0", totals), totals
    with logs_on_failure(cluster, "after all kills"):
        for consumer in CONSUMERS:
            assert "all equal" in cluster.make("verify", f"CONSUMER={consumer}"), consumer
        no_lag = dict.fromkeys(("spark-job", *CONSUMERS), 0)
        eventually_equal(lags, no_lag, "every group has read everything")
        assert len(workers()) == 2


def test_a_server_that_lost_its_disk_is_filled_from_the_other_one(
    cluster: Compose, tmp_path: Path
) -> None:
    guide = (PROJECT / "docs" / "production.md").read_text()
    commands = re.findall(r"^curl .*all\.native$", guide, re.MULTILINE)
    assert len(commands) == 2
    cluster("rm", "--stop", "--force", "clickhouse-server-2")
    project = cluster.environment["COMPOSE_PROJECT_NAME"]
    cluster.run(["docker", "volume", "rm", f"{project}_clickhouse-2-data"], 60)
    cluster("up", "-d")
    cluster.wait_until_healthy()
    assert stored_orders("clickhouse-server-2") == 0  # its group has read everything before
    with logs_on_failure(cluster, "after a lost disk"):
        for command in commands:
            cluster.shell(command.replace("all.native", str(tmp_path / "all.native")))
        assert "all equal" in cluster.make("verify", "CONSUMER=clickhouse-consumer-2")
