"""What the doctor finds on a machine."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

import doctor
from paths import LOCAL_STACK


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
def test_docker_must_be_new_enough(
    monkeypatch: pytest.MonkeyPatch, version: str, is_fine: bool
) -> None:
    monkeypatch.setattr(doctor, "output", lambda *_: version)

    server, *_ = doctor.docker()

    assert server.is_fine == is_fine


def test_the_doctor_and_the_query_need_no_packages(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-S", "-c"]
    for module in ("doctor", "query", "install"):
        code = f"import sys; sys.path.insert(0, {str(LOCAL_STACK)!r}); import {module}"
        result = subprocess.run([*command, code], cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
