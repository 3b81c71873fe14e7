"""What must be true before services start."""

import json
import socket
from pathlib import Path

import pytest

import checks
from ports import StackSettings, is_free
from supervision import StackError


def test_a_project_without_a_set_up_cannot_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "TOOLS", tmp_path)

    with pytest.raises(StackError, match="^not set up yet: run make setup$"):
        checks.check_startable(StackSettings(tmp_path / "stack"))


def test_the_disk_must_have_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "MIN_FREE_MB", 10**9)

    with pytest.raises(StackError, match=f"^1000000000 MB are needed in {tmp_path}/stack, "):
        checks.check_startable(StackSettings(tmp_path / "stack"))


def test_a_port_in_use_is_named_with_its_variable(tmp_path: Path) -> None:
    stack = StackSettings.on_free_ports(tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", stack.kafka_port))
        other.listen()

        checks.check_ports(["zookeeper", "clickhouse-server"], stack)
        with pytest.raises(StackError) as error:
            checks.check_ports(["zookeeper", "kafka"], stack)

    assert str(error.value) == (
        f"port {stack.kafka_port} is in use by another program; choose another one with KAFKA_PORT,"
        f" for example KAFKA_PORT={stack.kafka_port + 10000} make local-up"
    )


@pytest.mark.parametrize(("in_use", "of_zookeeper"), [(61123, 2181), (15123, 25123)])
def test_the_port_that_is_suggested_can_be_used(
    in_use: int, of_zookeeper: int, tmp_path: Path
) -> None:
    """10,000 more is too much for the first one, and is ZooKeeper's for the second one."""
    stack = StackSettings(tmp_path, kafka_port=in_use, zookeeper_port=of_zookeeper)

    suggested = checks.other_port(in_use, stack)

    assert suggested not in (in_use, in_use + 10000)
    assert is_free(suggested)


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "stack", Path("/proc/stack")):
        with pytest.raises(
            StackError, match=f"^STACK_DIR must be a folder to write to: .*{folder}"
        ):
            checks.check_startable(StackSettings(folder))


def test_a_user_without_a_name_is_told_what_spark_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 54321)
    checks.check_user(["zookeeper", "kafka"])

    with pytest.raises(
        StackError, match="^Spark needs a user with a name, and user 54321 has none"
    ):
        checks.check_user(["kafka", "spark-master"])


@pytest.mark.parametrize("content", ["", "{", "[]", '{"KAFKA_PORT": "x"}'])
def test_the_ports_of_a_running_stack_may_be_unknown(content: str, tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text(content)

    with pytest.raises(StackError, match="ports.json is damaged; stop it with make local-down"):
        checks.check_same_ports(StackSettings(tmp_path))


def test_a_running_stack_keeps_its_ports(tmp_path: Path) -> None:
    running = StackSettings(tmp_path, kafka_port=19092)
    (tmp_path / "ports.json").write_text(json.dumps(running.ports()))

    checks.check_same_ports(running)
    with pytest.raises(StackError) as error:
        checks.check_same_ports(StackSettings(tmp_path))

    assert str(error.value) == (
        f"the stack in {tmp_path} runs with KAFKA_PORT=19092; stop it with make local-down first"
    )


@pytest.mark.parametrize("kind", ["secure", "cluster"])
def test_a_running_stack_stays_what_it_is(kind: str, tmp_path: Path) -> None:
    running = StackSettings(tmp_path, **{kind: True})
    (tmp_path / "ports.json").write_text(json.dumps(running.saved()))

    with pytest.raises(StackError, match=f" runs with {kind.upper()}=1; stop it"):
        checks.check_same_ports(StackSettings(tmp_path))

    (tmp_path / "ports.json").write_text(json.dumps(StackSettings(tmp_path).saved()))
    with pytest.raises(StackError, match=f" runs with {kind.upper()}=0; stop it"):
        checks.check_same_ports(running)


def test_the_data_of_a_cluster_is_for_a_cluster_only(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text(json.dumps(StackSettings(tmp_path, cluster=True).saved()))

    with pytest.raises(StackError, match=r" has the data of a cluster: choose another STACK_DIR$"):
        checks.check_startable(StackSettings(tmp_path))
