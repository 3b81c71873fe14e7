"""What must be true before services start."""

import json
import socket
from pathlib import Path

import pytest

import checks
from ports import StackSettings
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


def test_a_running_stack_keeps_its_ports(tmp_path: Path) -> None:
    running = StackSettings(tmp_path, kafka_port=19092)
    (tmp_path / "ports.json").write_text(json.dumps(running.ports()))

    checks.check_same_ports(running)
    with pytest.raises(StackError) as error:
        checks.check_same_ports(StackSettings(tmp_path))

    assert str(error.value) == (
        f"the stack in {tmp_path} runs with KAFKA_PORT=19092; stop it with make local-down first"
    )
