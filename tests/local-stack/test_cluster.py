"""What CLUSTER=1 changes in the services of a stack."""

from pathlib import Path

import cluster
from ports import CLUSTER, StackSettings
from services import SERVICES, Service, ports_of, services_of

STACK = StackSettings(Path("/the stack"), cluster=True)
SERVICES_OF_CLUSTER = services_of(STACK)
KAFKA = "127.0.0.1:9092,127.0.0.1:9192,127.0.0.1:9292"
ZOOKEEPER = "127.0.0.1:2181,127.0.0.1:2281,127.0.0.1:2381"


def command(service: Service) -> str:
    return " ".join(service.filled_in(word, STACK) for word in service.command)


def environment(name: str) -> dict[str, str]:
    service = SERVICES_OF_CLUSTER[name]
    return {key: service.filled_in(text, STACK) for key, text in service.environment.items()}


def test_there_are_as_many_instances_as_the_setting_says() -> None:
    expected = [
        name if number == 1 else f"{name}-{number}"
        for name in SERVICES
        for number in range(1, CLUSTER.get(name, 1) + 1)
    ]
    assert list(SERVICES_OF_CLUSTER) == expected


def test_each_instance_listens_on_ports_of_its_own() -> None:
    assert ports_of(["zookeeper-3", "kafka-2"], STACK) == {
        2381: "ZOOKEEPER_PORT",
        3088: "ZOOKEEPER_PEER_PORT",
        4088: "ZOOKEEPER_ELECTION_PORT",
        9192: "KAFKA_PORT",
    }
    assert len(ports_of(SERVICES_OF_CLUSTER, STACK)) == sum(
        len(service.ports) for service in SERVICES_OF_CLUSTER.values()
    )


def test_a_single_stack_has_nothing_of_a_cluster() -> None:
    single = services_of(StackSettings())

    assert list(single) == list(SERVICES)
    assert {(each.number, each.folder) for each in single.values()} == {(1, ".")}


def test_each_broker_is_itself_and_knows_every_zookeeper() -> None:
    for number in (1, 2, 3):
        name = "kafka" if number == 1 else f"kafka-{number}"
        shown = command(SERVICES_OF_CLUSTER[name])
        assert f"--override listeners=PLAINTEXT://127.0.0.1:{9092 + 100 * (number - 1)} " in shown
        assert f"--override zookeeper.connect={ZOOKEEPER} " in shown
        assert f"--override broker.id={number} " in shown
        assert "--override min.insync.replicas=2 " in shown
        assert "--override default.replication.factor=3 " in shown


def test_clients_know_every_server() -> None:
    for name in ("topics", "spark-job", "clickhouse-consumer", "clickhouse-consumer-4"):
        assert environment(name)["KAFKA_BOOTSTRAP_SERVERS"] == KAFKA
    masters = "spark://localhost:7077,localhost:7177"
    assert environment("spark-job")["SPARK_MASTER"] == masters
    for name in ("spark-worker", "spark-worker-2"):
        assert command(SERVICES_OF_CLUSTER[name]).endswith(f" {masters}")
    assert STACK.environment()["KAFKA_BOOTSTRAP_SERVERS"] == KAFKA


def test_either_master_can_take_over() -> None:
    for name in ("spark-master", "spark-master-2"):
        options = environment(name)["SPARK_MASTER_OPTS"]
        assert "-Dspark.deploy.recoveryMode=ZOOKEEPER " in options
        assert f"-Dspark.deploy.zookeeper.url={ZOOKEEPER} " in options
        assert "-Dspark.deploy.recoveryTimeout=10 " in options
        assert "recoveryDirectory" not in options
    assert " --port 7177 --webui-port 8180" in command(SERVICES_OF_CLUSTER["spark-master-2"])


def test_a_worker_that_no_master_knows_gives_up_early() -> None:
    options = environment("spark-worker-2")["SPARK_WORKER_OPTS"]
    assert options.endswith(f" -Dspark.worker.cleanup.appDataTtl=86400{cluster.WORKER_GIVES_UP}")


def test_each_clickhouse_is_fed_by_a_group_of_its_own() -> None:
    fed = {
        name: (environment(name)["CLICKHOUSE_PORT"], environment(name).get("CONSUMER_GROUP"))
        for name in SERVICES_OF_CLUSTER
        if name.startswith("clickhouse-consumer")
    }
    assert fed == {
        "clickhouse-consumer": ("9000", None),
        "clickhouse-consumer-2": ("9000", None),
        "clickhouse-consumer-3": ("9100", "clickhouse-consumer-2"),
        "clickhouse-consumer-4": ("9100", "clickhouse-consumer-2"),
    }
    assert environment("clickhouse-server-2")["CLICKHOUSE_PORT"] == "9100"
    assert environment("clickhouse-consumer-4")["HEALTH_FILE"] == str(
        STACK.health_file("clickhouse-consumer-4")
    )


def test_every_zookeeper_knows_the_others() -> None:
    assert cluster.zookeeper_properties(STACK).splitlines()[-3:] == [
        "server.1=127.0.0.1:2888:3888",
        "server.2=127.0.0.1:2988:3988",
        "server.3=127.0.0.1:3088:4088",
    ]
