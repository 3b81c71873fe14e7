"""The command line of the stack: stack.py up | down | status."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import stack
from paths import LOCAL_STACK
from stack import SERVICES, Stack, StackError


def test_a_stack_is_stopped_with_the_ports_that_it_was_started_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = list[Stack]()
    monkeypatch.setattr(Stack, "down", lambda self: stopped.append(self))
    (tmp_path / "ports.json").write_text('{"KAFKA_PORT": 19092}')

    assert stack.run(Stack(tmp_path), stack.parse(["down"])) == 0
    assert stopped == [Stack(tmp_path, kafka_port=19092)]


@pytest.mark.parametrize(
    ("services", "started"),
    [([], list(SERVICES)), (["zookeeper", "kafka"], ["zookeeper", "kafka"])],
)
def test_up_starts_all_services_or_those_that_are_named(
    services: list[str], started: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = list[list[str]]()
    monkeypatch.setattr(Stack, "up", lambda self, deadline_sec, services: seen.append(services))

    assert stack.run(Stack(tmp_path), stack.parse(["up", *services])) == 0
    assert seen == [started]


def test_status_of_a_stack_that_does_not_run_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stack.run(Stack(tmp_path), stack.parse(["status"])) == 1
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()[1:]] == [
        [service, "STOPPED"] for service in SERVICES
    ]


def test_down_of_a_stack_that_does_not_run_is_not_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stack.run(Stack(tmp_path), stack.parse(["down"])) == 0
    assert capsys.readouterr().out == f"Nothing runs in {tmp_path}\n"


@pytest.mark.parametrize(
    ("setting", "value", "problem"),
    [
        ("KAFKA_PORT", "kafka", "KAFKA_PORT must be a port from 1 to 65535, not 'kafka'\n"),
        ("STACK_DIR", "a #1", "STACK_DIR and the project must be paths in UTF-8 without "),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_code_2(
    setting: str,
    value: str,
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(setting, str(tmp_path / value) if setting == "STACK_DIR" else value)

    assert stack.main(["up"]) == 2
    output, error = capsys.readouterr()
    assert output == ""
    assert error.startswith(problem)
    assert error.count("\n") == 1


@pytest.mark.parametrize("command", ["up", "down", "status"])
@pytest.mark.parametrize("folder", ["file", "file/stack"])
def test_a_folder_that_is_a_file_is_no_traceback(
    command: str,
    folder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("STACK_DIR", str(tmp_path / folder))

    assert stack.main([command]) == (0 if command == "down" else 1)
    assert capsys.readouterr().err.count("\n") == (1 if command == "up" else 0)


def test_an_error_of_the_system_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pids" / "kafka").mkdir(parents=True)  # cannot be read, as if it were another's
    monkeypatch.setenv("STACK_DIR", str(tmp_path))

    assert stack.main(["down"]) == 1
    error = capsys.readouterr().err
    assert error == f"[Errno 21] Is a directory: '{tmp_path}/pids/kafka'\n"


@pytest.mark.parametrize("content", ["", "[", "{}", "null"])
def test_all_services_are_meant_if_the_chosen_ones_are_unknown(
    content: str, tmp_path: Path
) -> None:
    (tmp_path / "services.json").write_text(content)

    assert Stack(tmp_path).chosen_services() == list(SERVICES)


def test_the_command_line_runs_as_a_program(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, LOCAL_STACK / "stack.py", "down"],
        env={**os.environ, "STACK_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )

    assert (result.returncode, result.stdout) == (0, f"Nothing runs in {tmp_path}\n")


@pytest.mark.parametrize("arguments", [[], ["start"], ["up", "nginx"], ["down", "kafka"]])
def test_a_command_or_service_that_does_not_exist_is_a_usage_error(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        stack.main(arguments)

    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("usage: ")


def test_nothing_starts_while_a_port_is_in_use(tmp_path: Path) -> None:
    refused = Stack.on_free_ports(tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", refused.kafka_port))
        other.listen()

        with pytest.raises(StackError, match="is in use by another program"):
            refused.up(services=["kafka"], say=lambda _: None)

    assert not (tmp_path / "supervisord.conf").exists()
