"""The table of services agrees with docker-compose.yml, and with itself."""

import re
import subprocess
from pathlib import Path

import pytest

import compose_file
from paths import LOCAL_STACK
from ports import StackSettings
from services import SERVICES, TABLE, WITHOUT_EMPTY_LOGS, Service, ports_of, services_of

STACK = StackSettings(Path("/the stack"), kafka_port=1, zookeeper_port=2, clickhouse_port=3)
BY_NAME = services_of(STACK)


def environment(service: str) -> dict[str, str]:
    record = BY_NAME[service]
    return {name: record.filled_in(text, STACK) for name, text in record.environment.items()}


def test_services_are_those_of_compose_in_the_same_order() -> None:
    assert [*SERVICES, "producer"] == list(compose_file.services())


def test_a_silent_zookeeper_is_given_up_as_soon_as_in_compose() -> None:
    configuration = (LOCAL_STACK / "conf" / "kafka.properties").read_text()
    (session_ms,) = re.findall(r"zookeeper.session.timeout.ms=(\d+)", configuration)
    in_compose = compose_file.environment("kafka")["KAFKA_ZOOKEEPER_SESSION_TIMEOUT_MS"]
    assert in_compose == session_ms


@pytest.mark.parametrize("where", ["local", "compose"])
def test_zookeeper_starts_without_the_empty_logs_of_a_full_disk(where: str, tmp_path: Path) -> None:
    folder = tmp_path / "zookeeper" / "version-2"
    folder.mkdir(parents=True)
    (folder / "log.1").write_text("content")
    (folder / "log.2").touch()
    code = WITHOUT_EMPTY_LOGS
    if where == "compose":
        (code,) = re.findall(
            r'command: \["sh", "-c", "(.*)"\]', compose_file.services()["zookeeper"]
        )
        code = code.replace("$$", "$").replace('\\"', '"')
        code = code.replace("/var/lib/zookeeper/log", "zookeeper")
        code = code.replace("/etc/confluent/docker/run", "echo started")
    command = ["sh", "-c", code, "sh", "echo", "started"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.stdout == "started\n"
    assert [path.name for path in folder.iterdir()] == ["log.1"]


@pytest.mark.parametrize("service", ["topics", "spark-job", "clickhouse-consumer"])
def test_a_python_service_gets_the_settings_that_compose_gives_it(service: str) -> None:
    in_compose = {name for name in compose_file.environment(service) if "HEAP_OPTS" not in name}

    assert in_compose <= set(environment(service)) | {"CLICKHOUSE_PASSWORD"}


def test_spark_runs_with_the_options_of_compose() -> None:
    master, worker = environment("spark-master"), environment("spark-worker")
    in_compose = compose_file.environment("spark-master")["SPARK_MASTER_OPTS"]
    assert master["SPARK_MASTER_OPTS"] == in_compose.replace("/home/spark/recovery", "spark-master")
    in_compose = compose_file.environment("spark-worker")["SPARK_WORKER_OPTS"]
    assert worker["SPARK_WORKER_OPTS"] == in_compose
    command = compose_file.services()["spark-worker"]
    size = BY_NAME["spark-worker"].command
    assert ", ".join(f'"{word}"' for word in size[size.index("--cores") :][:4]) in command


def test_a_service_with_a_heartbeat_in_compose_has_a_health_file() -> None:
    with_heartbeat = [
        name for name, text in compose_file.services().items() if "*heartbeat" in text
    ]

    assert with_heartbeat == [s for s in SERVICES if "HEALTH_FILE" in environment(s)]
    assert environment("spark-job")["HEALTH_FILE"] == str(STACK.health_file("spark-job"))


def test_only_the_topics_run_once() -> None:
    assert [service.name for service in TABLE if service.runs_once] == ["topics"]


def test_services_stop_against_the_flow_of_the_data() -> None:
    by_stop_order = sorted(TABLE, key=lambda service: -service.stop_order)

    assert [service.name for service in by_stop_order if service.name != "topics"] == [
        "clickhouse-consumer",
        "spark-job",
        "spark-worker",
        "spark-master",
        "clickhouse-server",
        "kafka",
        "zookeeper",
    ]


def test_each_port_belongs_to_one_service() -> None:
    assert sorted(port for service in TABLE for port in service.ports) == sorted(
        variable.lower() for variable in STACK.ports()
    )
    assert ports_of(["kafka", "clickhouse-server"], STACK) == {
        1: "KAFKA_PORT",
        3: "CLICKHOUSE_PORT",
        8123: "CLICKHOUSE_HTTP_PORT",
    }


@pytest.mark.parametrize("service", TABLE, ids=lambda service: service.name)
def test_the_address_shows_the_ports_of_the_service(service: Service) -> None:
    address = service.filled_in(service.address, STACK)

    shown = re.findall(r":(\d+)(?:/metrics)?(?: |$)", address)
    assert list(map(int, shown)) == [getattr(STACK, port) for port in service.ports]


def test_a_command_has_the_values_of_the_stack() -> None:
    kafka = [BY_NAME["kafka"].filled_in(word, STACK) for word in BY_NAME["kafka"].command]

    assert kafka[-6:] == [
        *("--override", "listeners=PLAINTEXT://127.0.0.1:1"),
        *("--override", "advertised.listeners=PLAINTEXT://127.0.0.1:1"),
        *("--override", "zookeeper.connect=127.0.0.1:2"),
    ]
    assert environment("spark-job")["CHECKPOINT_LOCATION"] == "/the stack/checkpoint"
