"""docker-compose.cluster.yml agrees with itself, and with CLUSTER=1 of the local stack."""

import re

import pytest

import cluster
import compose_file
from paths import PROJECT
from ports import CLUSTER

FILE = "docker-compose.cluster.yml"
TEXT = (PROJECT / FILE).read_text()
SERVICES = compose_file.services(FILE)


def instances(service: str) -> list[str]:
    return [name for name in SERVICES if re.fullmatch(rf"{service}(-\d)?", name)]


@pytest.mark.parametrize(
    ("service", "port", "separator", "lists"),
    [
        ("zookeeper", "2181", ",", 2),  # for Kafka and for Spark's masters
        ("zookeeper", "2888:3888", ";", 1),
        ("kafka", "29092", ",", 1),
        ("spark-master", "7077", ",", 1),
    ],
)
def test_whoever_connects_knows_every_instance(
    service: str, port: str, separator: str, lists: int
) -> None:
    address = rf"{service}(?:-\d)?:{port}"
    found = re.findall(rf"{address}(?:{separator}{address})*", TEXT)
    named = [each for each in found if separator in each]
    complete = separator.join(f"{name}:{port}" for name in instances(service))
    assert named == [complete] * lists


def test_every_client_has_the_whole_list() -> None:
    used = {name: TEXT.count(f"*{name}") for name in ("zookeepers", "brokers", "masters")}
    # Brokers; job, consumers and producer; workers and job.
    assert used == {"zookeepers": 1, "brokers": 3, "masters": 2}


def test_a_worker_differs_from_that_of_one_machine_by_its_masters_only() -> None:
    commands = [
        re.findall(r"command: \[(.*)\]", services["spark-worker"])[0]
        for services in (compose_file.services(), SERVICES)
    ]
    assert commands[1] == commands[0].replace('"spark://spark-master:7077"', "*masters")


def test_a_worker_gives_up_as_early_as_in_the_local_cluster() -> None:
    options = compose_file.environment("spark-worker", FILE)["SPARK_WORKER_OPTS"]
    of_one = compose_file.environment("spark-worker")["SPARK_WORKER_OPTS"]
    assert options == of_one + cluster.WORKER_GIVES_UP


def test_there_are_as_many_instances_as_in_the_local_cluster() -> None:
    for service in ("zookeeper", "kafka", "clickhouse-server", "spark-master"):
        assert len(instances(service)) == CLUSTER[service]
    scale = {
        name: int(n) for name, text in SERVICES.items() for n in re.findall(r"scale: (.*)", text)
    }
    assert scale == {"spark-worker": CLUSTER["spark-worker"], "clickhouse-consumer": 2}
    # The second group has the scale of the first one, which it extends.
    assert 2 * len(instances("clickhouse-consumer")) == CLUSTER["clickhouse-consumer"]


def test_brokers_and_zookeepers_have_the_settings_of_the_local_cluster() -> None:
    kafka = compose_file.environment("kafka", FILE)
    for name, value in cluster.KAFKA_SETTINGS.items():
        assert kafka[f"KAFKA_{name.upper().replace('.', '_')}"] == str(value)
    zookeeper = compose_file.environment("zookeeper", FILE)
    for name, value in re.findall(r"(\w+)=(\d+)", cluster.ZOOKEEPER_PROPERTIES):
        variable = re.sub("([A-Z])", r"_\1", name).upper()
        assert zookeeper[f"ZOOKEEPER_{variable}"] == value


def test_every_port_of_a_further_instance_can_be_changed_and_is_named_at_the_top() -> None:
    ports = re.findall(r"127\.0\.0\.1:(.+?):\d+\"", TEXT)
    header = TEXT.split("\nname:")[0]
    named = re.findall(r"[A-Z_]+_2?3?_?(?:WEBUI_|HTTP_)?PORT", header)
    assert [port.split(":-")[0] for port in ports] == [f"${{{name}" for name in named]
