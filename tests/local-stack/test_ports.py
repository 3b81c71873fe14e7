"""The settings of a stack: its folder and its ports."""

import errno
import socket
from pathlib import Path

import pytest

import compose_file
import doctor
from paths import PROJECT
from ports import CLUSTER, PORT_STEP, SAFE_PORTS, SettingsError, StackSettings, is_free


def test_ports_are_those_of_compose_by_default() -> None:
    assert StackSettings.from_env({"KAFKA_PORT": ""}) == StackSettings()
    assert StackSettings().ports() == {
        "KAFKA_PORT": 9092,
        "ZOOKEEPER_PORT": 2181,
        "CLICKHOUSE_PORT": 9000,
        "CLICKHOUSE_HTTP_PORT": 8123,
        "SPARK_MASTER_PORT": 7077,
        "SPARK_MASTER_WEBUI_PORT": 8080,
        "SPARK_WORKER_WEBUI_PORT": 8081,
        "SPARK_UI_PORT": 4040,
        "JOB_METRICS_PORT": 9101,
        "CONSUMER_METRICS_PORT": 9102,
    }
    assert compose_file.published_ports() == {*StackSettings().ports()} - {*doctor.LOCAL_PORTS}


def test_folder_and_ports_can_be_changed() -> None:
    moved = StackSettings.from_env({"STACK_DIR": "/elsewhere", "KAFKA_PORT": "19092"})

    assert moved == StackSettings(Path("/elsewhere"), kafka_port=19092)
    assert moved.environment() == {
        **StackSettings().environment(),
        "STACK_DIR": "/elsewhere",
        "KAFKA_PORT": "19092",
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:19092",
    }


def test_a_relative_folder_is_a_folder_of_the_project() -> None:
    stack = StackSettings.from_env({"STACK_DIR": ".local/other"})

    assert stack.directory == PROJECT / ".local" / "other"


@pytest.mark.parametrize("port", ["kafka", "0", "65536", "-1", "9092.0"])
def test_a_wrong_port_is_refused_by_the_name_of_its_variable(port: str) -> None:
    with pytest.raises(SettingsError) as error:
        StackSettings.from_env({"KAFKA_PORT": port})

    assert str(error.value) == f"KAFKA_PORT must be a port from 1 to 65535, not '{port}'"


def test_two_services_cannot_share_a_port() -> None:
    with pytest.raises(SettingsError, match="must be a port of its own, 9000 is used twice"):
        StackSettings.from_env({"KAFKA_PORT": "9000"})


def test_a_port_is_free_until_a_server_listens_on_it() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)


def test_a_port_is_in_use_if_another_program_listens_on_it_over_ipv6_only(
    ipv6_only_server: socket.socket,
) -> None:
    port = ipv6_only_server.getsockname()[1]
    assert not is_free(port)
    ipv6_only_server.close()
    assert is_free(port)


def test_a_machine_without_ipv6_has_free_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    class WithoutIpv6(socket.socket):
        def bind(self, address: tuple[str, int]) -> None:
            if self.family == socket.AF_INET6:
                raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
            super().bind(address)

    port = StackSettings.on_free_ports(PROJECT).kafka_port
    monkeypatch.setattr(socket, "socket", WithoutIpv6)
    assert is_free(port)


def test_a_stack_beside_others_has_ten_free_ports(tmp_path: Path) -> None:
    ports = list(StackSettings.on_free_ports(tmp_path).ports().values())

    assert len(set(ports)) == 10
    assert set(ports) <= set(SAFE_PORTS)
    assert all(map(is_free, ports))


def test_the_instances_of_a_cluster_have_free_ports_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    neighbours = [*SAFE_PORTS[::PORT_STEP], *SAFE_PORTS[1::PORT_STEP]]
    monkeypatch.setattr("random.sample", lambda population, number: neighbours)

    stack = StackSettings.on_free_ports(tmp_path, cluster=True)

    ports = [port for first in stack.ports().values() for port in stack.block(first)]
    assert len(set(ports)) == len(ports) == 12 * max(CLUSTER.values())
    assert all(map(is_free, ports))


def test_a_cluster_has_a_folder_and_ports_that_do_not_meet() -> None:
    stack = StackSettings.from_env({"CLUSTER": "1"})

    assert stack.directory != StackSettings().directory
    servers = stack.servers("kafka", stack.kafka_port)
    assert servers == "127.0.0.1:9092,127.0.0.1:9192,127.0.0.1:9292"
    with pytest.raises(SettingsError, match="^ZOOKEEPER_PORT must .* own, 2181 is used twice$"):
        StackSettings.from_env({"CLUSTER": "1", "KAFKA_PORT": "2081"})
    with pytest.raises(SettingsError, match="^KAFKA_PORT is too high: CLUSTER=1 also needs 65600$"):
        StackSettings.from_env({"CLUSTER": "1", "KAFKA_PORT": "65300"})
    with pytest.raises(SettingsError, match="^SECURE=1 and CLUSTER=1 cannot be combined$"):
        StackSettings.from_env({"CLUSTER": "1", "SECURE": "1"})


@pytest.mark.parametrize(
    "name", ['it\'s "one"', "a #1", "a ;b", "two\nlines", "a:b", "a,b", "{a}", "what?", "oh!"]
)
def test_a_folder_that_a_service_cannot_use_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="^STACK_DIR and the project must be paths in UTF-8 "):
        StackSettings.from_env({"STACK_DIR": f"/{name}"})


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"KAFKA_PORT": null}', "\x00"])
def test_a_stack_whose_ports_were_damaged_is_unknown(content: str, tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text(content)

    assert StackSettings.last_started_in(tmp_path) is None


def test_the_stack_that_was_last_started_in_a_folder_is_known_by_its_ports(tmp_path: Path) -> None:
    assert StackSettings.last_started_in(tmp_path) is None

    (tmp_path / "ports.json").write_text('{"KAFKA_PORT": 19092}')

    assert StackSettings.last_started_in(tmp_path) == StackSettings(tmp_path, kafka_port=19092)
