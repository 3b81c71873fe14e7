"""What the doctor finds on a machine."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import doctor
from paths import LOCAL_STACK, PROJECT

# Stand-ins for commands: each answers some of its arguments and fails for all others.
DOCKER = {"version --format {{.Server.Version}}": "29.0.1"}
PLUGIN = {"compose version --short": "5.5.0"}
COMPOSE_V1 = {"version --short": "1.29.2"}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the only commands that the doctor can find."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def install(path: Path, command: str, answers: dict[str, str]) -> None:
    cases = "".join(f"'{given}') echo '{text}';;\n" for given, text in answers.items())
    (path / command).write_text(f'#!/bin/sh\ncase "$*" in\n{cases}*) exit 1;;\nesac\n')
    (path / command).chmod(0o755)


def test_what_is_in_the_way_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        monkeypatch.setenv("KAFKA_PORT", str(server.getsockname()[1]))
        assert doctor.main() == 1
        output = capsys.readouterr().out

    assert (
        "is in use: stop what listens there (this pipeline, perhaps), or set KAFKA_PORT" in output
    )
    assert "would NOT work yet" in output


def test_a_wrong_port_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOOKEEPER_PORT", "zoo")

    (check,) = [check for check in doctor.ports() if "ZOOKEEPER_PORT" in check.found]

    assert check == doctor.Check(
        {"local"},
        False,
        "ZOOKEEPER_PORT=zoo",
        "ZOOKEEPER_PORT must be a port from 1 to 65535, not 'zoo'",
    )


@pytest.mark.parametrize(
    ("version", "is_fine"),
    [("20.10.9", False), ("20.10.10", True), ("24.0.5-ce", True), ("", False)],
)
def test_docker_must_be_new_enough(path: Path, version: str, is_fine: bool) -> None:
    install(path, "docker", {"version --format {{.Server.Version}}": version})

    server, *_ = doctor.docker()

    assert server.is_fine == is_fine


@pytest.mark.parametrize(("size_gb", "is_fine"), [(2, False), (8, True)])
def test_docker_is_asked_for_its_memory(path: Path, size_gb: int, is_fine: bool) -> None:
    install(path, "docker", {**DOCKER, "info --format {{.MemTotal}}": str(size_gb * 2**30)})

    _, memory, _ = doctor.docker()

    found = f"{size_gb} GB of memory in Docker"
    assert memory == doctor.Check({"docker"}, is_fine, found, "4 GB are needed")
    assert all("of memory on this machine" not in check.found for check in doctor.docker())


def test_the_compose_plugin_is_preferred(path: Path) -> None:
    install(path, "docker", {**DOCKER, **PLUGIN})
    install(path, "docker-compose", COMPOSE_V1)

    assert doctor.compose(is_docker_there=True) == doctor.Check(
        {"docker"}, True, "Compose 5.5.0, typed `docker compose`"
    )


def test_compose_v2_may_be_a_command_of_its_own(path: Path) -> None:
    install(path, "docker-compose", {"version --short": "2.26.1"})

    assert doctor.compose(is_docker_there=True) == doctor.Check(
        {"docker"}, True, "Compose 2.26.1, typed `docker-compose`"
    )


@pytest.mark.parametrize(("answers", "is_fine"), [({"ps -q": ""}, True), ({}, False)])
def test_compose_v1_is_tried_with_this_docker(
    path: Path, answers: dict[str, str], is_fine: bool
) -> None:
    install(path, "docker", DOCKER)
    install(path, "docker-compose", {**COMPOSE_V1, **answers})

    check = doctor.compose(is_docker_there=True)

    assert check.is_fine == is_fine
    assert check.found == (
        "Compose 1.29.2, typed `docker-compose`;"
        " v1 needs `docker-compose down` before every `up --build`"
    )
    assert "set COMPOSE_API_VERSION=auto" in check.advice


@pytest.mark.parametrize(("mode", "is_fine"), [(0o600, False), (0o644, True)])
def test_containers_must_be_able_to_read_their_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, is_fine: bool
) -> None:
    for name in doctor.MOUNTED:
        (tmp_path / name).mkdir(mode=0o755)
    file = tmp_path / "clickhouse-config" / "logs.xml"
    file.touch()
    file.chmod(mode)
    monkeypatch.setattr(doctor, "PROJECT", tmp_path)
    monkeypatch.setattr(doctor.platform, "system", lambda: "Linux")

    check = doctor.mounted_files()

    assert check.is_fine == is_fine
    assert check.advice.endswith("chmod -R a+rX clickhouse-init clickhouse-config verify")


def test_every_mounted_folder_is_looked_at() -> None:
    text = (PROJECT / "docker-compose.yml").read_text() + (PROJECT / "Makefile").read_text()
    for folder in os.listdir(PROJECT):
        is_mounted = f"- ./{folder}" in text or f"$(CURDIR)/{folder}:" in text
        assert is_mounted == (folder in doctor.MOUNTED), folder


def test_the_doctor_and_the_query_need_no_packages(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-S", "-c"]
    for module in ("doctor", "query", "install", "env_file"):
        code = f"import sys; sys.path.insert(0, {str(LOCAL_STACK)!r}); import {module}"
        result = subprocess.run([*command, code], cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
